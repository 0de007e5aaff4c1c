package servertest_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// A master with a replica and three sentinels, behind a failover client. Promotion
// takes about two and a half seconds here.

// watched is a lock of that name behind sentinels, of a client of its own.
func watched(t *testing.T, s *testredis.Sentinels, kind, name string, ttl time.Duration) holdfast.Locker {
	t.Helper()
	rdb := s.Client(t, func(o *redis.FailoverOptions) { o.ContextTimeoutEnabled = true })
	return kinds[kind](newClient(t, rdb, holdfast.WithTTL(ttl)), name)
}

// replicated waits until the replica has all that was written.
func replicated(t *testing.T, master *testredis.Server) {
	t.Helper()
	rdb := master.Client(t)
	if err := rdb.Set(t.Context(), "mark", "", time.Minute).Err(); err != nil { // WAIT counts what its own connection wrote
		t.Fatal(err)
	}
	ok := false
	for range 10 {
		conn := rdb.Conn()
		_ = conn.Set(t.Context(), "mark", "", time.Minute).Err()
		n, err := conn.Wait(t.Context(), 1, time.Second).Result()
		_ = conn.Close()
		if ok = err == nil && n == 1; ok {
			return
		}
	}
	t.Fatal("the replica is not in step")
}

// queuedBehind waits until so many wait.
func queuedBehind(t *testing.T, probe holdfast.Locker, n int) {
	t.Helper()
	contract.Eventually(t, "the waiters to queue", func() bool {
		var held *holdfast.HeldError
		_, err := probe.TryLock(t.Context())
		return errors.As(err, &held) && held.Waiters == n
	})
}

// The master is killed while locks of all kinds are held, renewed and waited for.
// What was replicated goes on; the tokens stay in order.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := testredis.StartSentinels(t)
	const ttl = 12 * time.Second
	type held struct {
		lease   *holdfast.Lease
		waiting <-chan contract.Result
	}
	all := map[string]held{}
	for kind := range kinds {
		holder := watched(t, s, kind, "long", ttl)
		h := held{lease: contract.Lock(t, holder)}
		h.waiting = contract.Go(t.Context(), watched(t, s, kind, "long", ttl))
		queuedBehind(t, holder, 1)
		all[kind] = h
	}
	// This one ends before there is a new master: its holder knows by its own clock.
	short := watched(t, s, "mutex", "short", time.Second)
	brief := contract.Lock(t, short)
	next := contract.Go(t.Context(), watched(t, s, "mutex", "short", time.Second))
	queuedBehind(t, short, 1)
	replicated(t, s.Master)

	s.Master.Kill()
	killed := time.Now()
	<-brief.Done()
	if !errors.Is(brief.Err(), holdfast.ErrLost) || time.Now().Before(brief.Deadline()) {
		t.Errorf("the short lease: %v", brief.Err())
	}
	r := contract.Get(t, next)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	t.Logf("the next holder of the short lock %v after the kill", time.Since(killed))
	if r.Lease.Token() <= brief.Token() {
		t.Errorf("token %d after %d", r.Lease.Token(), brief.Token())
	}
	contract.Release(t, r.Lease)
	for kind, h := range all {
		before := h.lease.Deadline()
		contract.Eventually(t, "a renewal at the new master", func() bool {
			if err := h.lease.Err(); err != nil {
				t.Fatalf("%s: the lease is lost: %v", kind, err)
			}
			return h.lease.Deadline().After(before)
		})
		contract.Release(t, h.lease)
		r := contract.Get(t, h.waiting)
		if r.Err != nil {
			t.Fatalf("%s: %v", kind, r.Err)
		}
		if r.Lease.Token() <= h.lease.Token() {
			t.Errorf("%s: token %d after %d", kind, r.Lease.Token(), h.lease.Token())
		}
		contract.Release(t, r.Lease)
	}
	t.Logf("all served %v after the kill", time.Since(killed))

	// The old master comes back, and is a master until the sentinels see it. A client
	// behind them does not go there.
	lock := watched(t, s, "mutex", "after", ttl)
	contract.Release(t, contract.Lock(t, lock))
	s.Master.Restart()
	lease := contract.Lock(t, lock)
	if _, err := watched(t, s, "mutex", "after", ttl).TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("a client made while the old master is back: %v", err)
	}
	s.AwaitReplica(t, s.Master)
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew after the old master was demoted: %v", err)
	}
	contract.Release(t, lease)
}

// What replication had not carried over is lost: the new master gives the lock
// again, and its first holder is told at its next renewal, not before. The replica
// is cut off first, so that this happens each time.
func TestFailoverLosesWhatWasNotReplicated(t *testing.T) {
	t.Parallel()
	master := testredis.Start(t)
	replica := testredis.StartReplica(t, master)
	var now atomic.Pointer[testredis.Server] // where clients are sent, as sentinels would
	now.Store(master)
	const ttl = 900 * time.Millisecond
	lock := func() holdfast.Locker {
		rdb := master.Client(t, func(o *redis.Options) {
			o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, now.Load().Addr())
			}
		})
		return mutex.New(newClient(t, rdb, holdfast.WithTTL(ttl)), "forgotten")
	}
	if err := replica.Client(t).Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil { // there is nobody
		t.Fatal(err)
	}
	first := contract.Lock(t, lock())
	renewed := first.Deadline()
	contract.Eventually(t, "a renewal", func() bool { return first.Deadline().After(renewed) })

	if err := replica.Client(t).Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	now.Store(replica)
	master.Kill()
	second := contract.Lock(t, lock()) // at once: nobody knows of the first
	overlap := time.Now()
	<-first.Done()
	var why *holdfast.LostError
	if !errors.As(first.Err(), &why) || why.Reason != holdfast.LostTaken && why.Reason != holdfast.LostUnreachable {
		t.Errorf("the first holder: %v", first.Err())
	}
	if second.Token() <= first.Token() {
		t.Errorf("token %d after %d", second.Token(), first.Token())
	}
	d := time.Since(overlap)
	t.Logf("two holders for %v of a TTL of %v; %v", d, ttl, first.Err())
	if d > ttl {
		t.Errorf("two holders for %v, a TTL of %v", d, ttl)
	}
	contract.Release(t, second)
}
