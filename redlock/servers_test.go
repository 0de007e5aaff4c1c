package redlock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/redlock"
)

// These tests are about what several servers do together; what a lock on one does
// is the suite's. slow is an upper bound of what should take milliseconds.
const slow = 5 * time.Second

// server is one of several, and a client to look at it.
type server struct {
	*testredis.Server
	rdb *redis.Client
}

// cluster is some independent servers.
type cluster []server

func start(t *testing.T, n int) cluster {
	t.Helper()
	all := make(cluster, n)
	for i := range all {
		s := testredis.Start(t)
		all[i] = server{s, s.Client(t)}
	}
	return all
}

// clients are those of one process.
func (all cluster) clients(t *testing.T, opts ...holdfast.Option) []*holdfast.Client {
	t.Helper()
	clients := make([]*holdfast.Client, len(all))
	for i, s := range all {
		clients[i], _ = contract.Connect(t, &redis.Options{Addr: s.Addr(), DialerRetries: 1}, opts...)
	}
	return clients
}

// proxied are clients behind proxies of their own.
func (all cluster) proxied(t *testing.T) ([]*holdfast.Client, []*faultproxy.Proxy) {
	t.Helper()
	clients := make([]*holdfast.Client, len(all))
	proxies := make([]*faultproxy.Proxy, len(all))
	for i, s := range all {
		proxies[i] = faultproxy.New(t, s.Addr())
		clients[i], _ = contract.Connect(t, &redis.Options{Addr: proxies[i].Addr(), DialerRetries: 1})
	}
	return clients, proxies
}

func (all cluster) lock(t *testing.T, name string, opts ...holdfast.Option) *redlock.Redlock {
	t.Helper()
	return redlock.New(all.clients(t), name, append([]holdfast.Option{fast}, opts...)...)
}

func key(name string) string { return "holdfast:redlock:" + name }

// holds counts the servers that have the lock's key.
func (all cluster) holds(t *testing.T, name string) int {
	t.Helper()
	n := 0
	for _, s := range all {
		n += int(s.rdb.Exists(t.Context(), key(name)).Val())
	}
	return n
}

func (all cluster) awaitHolds(t *testing.T, name string, n int) {
	t.Helper()
	contract.Eventually(t, fmt.Sprintf("%d servers to have it", n), func() bool { return all.holds(t, name) == n })
}

// renewed waits until the lease was renewed for several TTLs.
func renewed(t *testing.T, l *holdfast.Lease, ttl time.Duration) {
	t.Helper()
	first := l.Deadline()
	contract.Eventually(t, "renewals", func() bool {
		if err := l.Err(); err != nil {
			t.Fatalf("lost: %v", err)
		}
		return l.Deadline().After(first.Add(2 * ttl))
	})
}

func reason(err error) holdfast.LostReason {
	var lost *holdfast.LostError
	if !errors.As(err, &lost) || !errors.Is(err, holdfast.ErrLost) {
		return ""
	}
	return lost.Reason
}

func quickly(t *testing.T, what string, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	if d := time.Since(begun); d > slow {
		t.Errorf("%s took %v", what, d)
	}
}

func isDial(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

var (
	acquire = faultproxy.IsScript(lua.MutexAcquire.Source())
	release = faultproxy.IsScript(lua.MutexRelease.Source())
)

// warm loads the scripts, so that a rule counts each call once.
func warm(t *testing.T, clients []*holdfast.Client) {
	t.Helper()
	for _, c := range clients {
		lease := contract.Lock(t, redlock.New([]*holdfast.Client{c}, "warm"))
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		contract.Release(t, lease)
	}
}

func hit(t *testing.T, r *faultproxy.Rule) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.WaitHit(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestMinorityDown(t *testing.T) {
	t.Parallel()
	const ttl = 900 * time.Millisecond
	all := start(t, 5)
	a, b := all.lock(t, "minority", holdfast.WithTTL(ttl)), all.lock(t, "minority")
	all[1].Kill()
	all[4].Kill()
	for range 3 {
		var lease *holdfast.Lease
		quickly(t, "Lock", func() { lease = contract.Lock(t, a) })
		if _, err := b.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("TryLock of a held lock: %v", err)
		}
		renewed(t, lease, ttl)
		quickly(t, "Release", func() { contract.Release(t, lease) })
	}
}

// TestServerGoesDownWhileHeld: renewal needs a majority only.
func TestServerGoesDownWhileHeld(t *testing.T) {
	t.Parallel()
	const ttl = 900 * time.Millisecond
	all := start(t, 3)
	lease := contract.Lock(t, all.lock(t, "down", holdfast.WithTTL(ttl)))
	all[2].Kill()
	renewed(t, lease, ttl)
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew: %v", err)
	}
	contract.Release(t, lease)
}

func TestMajorityDown(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	// Short, since what may have been left on a server that stays down keeps Close
	// from its end for a TTL.
	l := all.lock(t, "majority", holdfast.WithTTL(4*time.Second))
	contract.Release(t, contract.Lock(t, l))
	all[0].Kill()
	all[2].Kill()
	if _, err := l.TryLock(t.Context()); !isDial(err) || errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := l.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !isDial(err) {
		t.Errorf("Lock: %v", err)
	}
	limited := all.lock(t, "majority", holdfast.WithMaxWait(200*time.Millisecond))
	if _, err := limited.Lock(t.Context()); !isDial(err) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock with WithMaxWait: %v", err)
	}
	all[:2].awaitHolds(t, "majority", 0) // what the one that is up gave
	waiting := contract.Go(t.Context(), l)
	all[2].Restart()
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	contract.Release(t, r.Lease)
}

// TestMajorityGoesDownWhileHeld: the lease lasts until its Deadline, not beyond.
func TestMajorityGoesDownWhileHeld(t *testing.T) {
	t.Parallel()
	const ttl = 900 * time.Millisecond
	all := start(t, 3)
	l := all.lock(t, "unreachable", holdfast.WithTTL(ttl))
	lease := contract.Lock(t, l)
	all[1].Pause()
	all[2].Pause()
	<-lease.Done()
	if early := time.Until(lease.Deadline()); early > 0 {
		t.Errorf("lost %v before its deadline", early)
	}
	if reason(lease.Err()) != holdfast.LostUnreachable || errors.Is(lease.Err(), context.DeadlineExceeded) {
		t.Errorf("Err: %v", lease.Err())
	}
	all[1].Resume()
	all[2].Resume()
	contract.Release(t, contract.Lock(t, l))
	all.awaitHolds(t, "unreachable", 0)
}

// TestHungServer: one hangs with its connections open. Nobody waits for it.
func TestHungServer(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond
	all := start(t, 3)
	a, b := all.lock(t, "hung", holdfast.WithTTL(ttl)), all.lock(t, "hung", holdfast.WithTTL(ttl))
	contract.Release(t, contract.Lock(t, a))
	all[1].Pause()
	quickly(t, "60 locks and releases", func() {
		for range 60 {
			contract.Release(t, contract.Lock(t, a))
		}
	})
	lease := contract.Lock(t, a)
	quickly(t, "TryLock", func() {
		var held *holdfast.HeldError
		if _, err := b.TryLock(t.Context()); !errors.As(err, &held) || held.Holder == "" {
			t.Errorf("TryLock of a held lock: %v", err)
		}
	})
	renewed(t, lease, ttl)
	quickly(t, "Release", func() { contract.Release(t, lease) })
	all[1].Resume() // and does what it was asked to meanwhile
	all.awaitHolds(t, "hung", 0)
	lease = contract.Lock(t, b)
	all.awaitHolds(t, "hung", 3)
	contract.Release(t, lease)
}

// TestForgottenServer: a server that came back empty does not get the lock back,
// and is out for good; the lease goes on with the others.
func TestForgottenServer(t *testing.T) {
	t.Parallel()
	const ttl = 900 * time.Millisecond
	all := start(t, 3)
	l := all.lock(t, "forgot", holdfast.WithTTL(ttl))
	lease := contract.Lock(t, l)
	all.awaitHolds(t, "forgot", 3)
	testredis.Flush(t, all[0].rdb)
	renewed(t, lease, ttl)
	if n := all[:1].holds(t, "forgot"); n != 0 {
		t.Fatal("the lock was put back")
	}
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew: %v", err)
	}
	// Now the other two are needed.
	testredis.Flush(t, all[1].rdb)
	flushed := time.Now()
	<-lease.Done()
	if d := time.Since(flushed); d > ttl {
		t.Errorf("told %v after it was lost, TTL %v", d, ttl)
	}
	if reason(lease.Err()) != holdfast.LostRemoved {
		t.Errorf("Err: %v", lease.Err())
	}
	all.awaitHolds(t, "forgot", 0) // the third gives it back
	if err := lease.Release(t.Context()); reason(err) != holdfast.LostRemoved {
		t.Errorf("Release: %v", err)
	}
}

// TestTakenServers: what others took counts as a loss as soon as it is seen, long
// before the deadline.
func TestTakenServers(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	a, b := all.lock(t, "taken"), all.lock(t, "taken")
	lease := contract.Lock(t, a)
	for _, s := range all[:2] {
		testredis.Flush(t, s.rdb)
	}
	other := contract.Lock(t, b)
	deadline := lease.Deadline()
	if err := lease.Renew(t.Context()); reason(err) != holdfast.LostTaken {
		t.Errorf("Renew: %v", err)
	}
	if time.Now().After(deadline) || reason(lease.Err()) != holdfast.LostTaken {
		t.Errorf("Err: %v", lease.Err())
	}
	select {
	case <-lease.Done():
	default:
		t.Error("Done is open")
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Errorf("the other's lease: %v", err)
	}
	contract.Release(t, other)
}

// TestReleaseByMajority: what Release says of servers that forgot.
func TestReleaseByMajority(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	l := all.lock(t, "release")
	for forgot, want := range []holdfast.LostReason{"", "", holdfast.LostRemoved, holdfast.LostRemoved} {
		lease := contract.Lock(t, l)
		all.awaitHolds(t, "release", 3)
		for _, s := range all[:forgot] {
			testredis.Flush(t, s.rdb)
		}
		err := lease.Release(t.Context())
		if got := reason(err); got != want || want == "" && err != nil {
			t.Errorf("Release after %d servers forgot: %v", forgot, err)
		}
		if err := lease.Release(t.Context()); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("a second Release: %v", err)
		}
		all.awaitHolds(t, "release", 0)
	}
}

// TestReleaseUnconfirmed: without a majority's word Release says so, after 2 s, and
// goes on.
func TestReleaseUnconfirmed(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	lease := contract.Lock(t, all.lock(t, "silent"))
	all.awaitHolds(t, "silent", 3)
	all[0].Pause()
	all[2].Pause()
	begun := time.Now()
	err := lease.Release(t.Context())
	if err == nil || errors.Is(err, holdfast.ErrLost) || errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("Release: %v", err)
	}
	if d := time.Since(begun); d > 4*time.Second {
		t.Errorf("Release took %v", d)
	}
	all[0].Resume()
	all[2].Resume()
	all.awaitHolds(t, "silent", 0)
}

// TestDeadlineIsTheQuorums: a renewal by fewer than a majority moves nothing.
func TestDeadlineIsTheQuorums(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	l := all.lock(t, "deadline", holdfast.WithoutRenewal(), holdfast.WithTTL(6*time.Second))
	lease := contract.Lock(t, l)
	all.awaitHolds(t, "deadline", 3)
	all[1].Pause()
	first := lease.Deadline()
	contract.Eventually(t, "time to pass", func() bool { return time.Until(first) < 5900*time.Millisecond })
	sent := time.Now()
	if err := lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := lease.Deadline()
	if !second.After(first) || second.After(time.Now().Add(6*time.Second)) || second.Before(sent) {
		t.Errorf("the deadline moved by %v", second.Sub(first))
	}
	all[2].Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := lease.Renew(ctx)
	if err == nil || errors.Is(err, holdfast.ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Renew by one of three: %v", err)
	}
	if got := lease.Deadline(); !got.Equal(second) {
		t.Errorf("one of three moved the deadline by %v", got.Sub(second))
	}
	if ttl := all[0].rdb.PTTL(t.Context(), key("deadline")).Val(); ttl < 5*time.Second {
		t.Errorf("the one that answered has %v left", ttl)
	}
	all[1].Resume()
	all[2].Resume()
	contract.Release(t, lease)
}

// TestMaxHoldWithMinorityDown: a server that could not be renewed is not why the
// lease ended.
func TestMaxHoldWithMinorityDown(t *testing.T) {
	t.Parallel()
	const ttl = 900 * time.Millisecond
	all := start(t, 3)
	lease := contract.Lock(t, all.lock(t, "maxhold", holdfast.WithTTL(ttl), holdfast.WithMaxHold(ttl)))
	all.awaitHolds(t, "maxhold", 3)
	all[0].Kill()
	<-lease.Done()
	if reason(lease.Err()) != holdfast.LostExpired {
		t.Errorf("Err: %v", lease.Err())
	}
	all[1:].awaitHolds(t, "maxhold", 0)
}
