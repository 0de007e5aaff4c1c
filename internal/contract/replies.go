package contract

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// acquireReplyLost: the acquire was done, its reply is lost and the connection
// with it. The same id asks again and finds itself.
func acquireReplyLost(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	for name, lock := range map[string]func(context.Context) (*holdfast.Lease, error){
		"Lock":    e.New(b, "lost").Lock,
		"TryLock": e.New(b, "lost").TryLock,
	} {
		rule := p.Add(faultproxy.First(1, e.first()), faultproxy.SwallowReplyThenClose)
		lease, err := lock(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rule.Hits() != 1 {
			t.Error("no reply was lost")
		}
		rule.Remove()
		Release(t, lease)
		e.free(t, "lost")
	}
}

// acquireHangs: the acquire was done, and the reply never comes.
func acquireHangs(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	for _, lock := range []func(context.Context) (*holdfast.Lease, error){
		e.New(b, "hang").Lock, e.New(b, "hang").TryLock,
	} {
		rule := p.Add(faultproxy.First(1, e.first()), faultproxy.SwallowReplyThenHang)
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		_, err := lock(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock: %v", err)
		}
		rule.Remove()
		Eventually(t, "the ghost to be gone", func() bool {
			lease, err := e.New(e.Client(t), "hang").TryLock(t.Context())
			if err == nil {
				Release(t, lease)
			}
			return err == nil
		})
	}
}

func renewReplyLost(t *testing.T, e *Env) {
	const ttl = 900 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl))
	rule := p.Add(faultproxy.First(2, e.renew()), faultproxy.SwallowReplyThenClose)
	lease := Lock(t, e.New(b, "renew"))
	first := lease.Deadline()
	Eventually(t, "renewals in spite of lost replies", func() bool {
		if err := lease.Err(); err != nil {
			t.Fatal(err)
		}
		return rule.Hits() == 2 && lease.Deadline().After(first.Add(ttl))
	})
	Release(t, lease)
}

// renewHangsOnce: a renewal on a dead connection is given up in time for another.
func renewHangsOnce(t *testing.T, e *Env) {
	const ttl = 1200 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl))
	rule := p.Add(faultproxy.First(1, e.renew()), faultproxy.SwallowReplyThenHang)
	lease := Lock(t, e.New(b, "renew"))
	first := lease.Deadline()
	Eventually(t, "renewals in spite of a hanging connection", func() bool {
		if err := lease.Err(); err != nil {
			t.Fatal(err)
		}
		return rule.Hits() == 1 && lease.Deadline().After(first.Add(ttl))
	})
	Release(t, lease)
}

// releaseReplyLost: a release that was done and not answered is a release.
func releaseReplyLost(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	other := e.New(e.Client(t), "release")
	for range 5 {
		rule := p.Add(faultproxy.First(1, e.release()), faultproxy.SwallowReplyThenClose)
		lease := Lock(t, e.New(b, "release"))
		waiting := Go(t.Context(), other)
		e.AwaitWaiters(t, e.New(b, "release"), 1)
		if err := lease.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if err := r.Lease.Renew(t.Context()); err != nil {
			t.Errorf("the second copy of the release harmed the next holder: %v", err)
		}
		Release(t, r.Lease)
		rule.Remove()
	}
}

// releaseHangs: Release returns within a few seconds, says that it does not
// know, and the client goes on.
func releaseHangs(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	lease := Lock(t, e.New(b, "release"))
	p.Blackhole(true, true)
	before := time.Now()
	err := lease.Release(t.Context())
	if err == nil || errors.Is(err, holdfast.ErrLost) || errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("Release without an answer: %v", err)
	}
	if d := time.Since(before); d > 5*time.Second {
		t.Errorf("Release took %v", d)
	}
	if !errors.Is(lease.Err(), holdfast.ErrReleased) {
		t.Errorf("Err: %v", lease.Err())
	}
	p.CutAll() // what was sent is lost
	p.Heal()
	Within(t, 20*time.Second, "the release to be done in the background", func() bool {
		other, err := e.New(e.Client(t), "release").TryLock(t.Context())
		if err == nil {
			Release(t, other)
		}
		return err == nil
	})
}

func leaveReplyLost(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	a := e.New(e.Client(t), "leave")
	lease := Lock(t, a)
	for _, action := range []faultproxy.Action{
		faultproxy.SwallowReplyThenClose, faultproxy.SwallowReplyThenHang, faultproxy.CutBeforeForward,
	} {
		rule := p.Add(faultproxy.First(1, e.release()), action)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := Go(ctx, e.New(b, "leave"))
		e.AwaitWaiters(t, a, 1)
		cancel()
		if r := Get(t, waiting); !errors.Is(r.Err, context.Canceled) {
			t.Error(r.Err)
		}
		e.AwaitWaiters(t, a, 0)
		rule.Remove()
	}
	Release(t, lease)
	e.NothingLeft(t)
}

// wakeUpLost: the message is lost; the next poll finds the grant.
func wakeUpLost(t *testing.T, e *Env) {
	fast := holdfast.WithBackOff(func() holdfast.BackOff { return constant(100 * time.Millisecond) })
	b, p := e.proxied(t, fast)
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "wake")
	for range 5 {
		lease := Lock(t, a)
		waiting := Go(t.Context(), e.New(b, "wake"))
		e.AwaitWaiters(t, a, 1)
		p.DropPushes(1)
		Release(t, lease)
		released := time.Now()
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(released); d > 5*time.Second {
			t.Errorf("served after %v", d)
		}
		Release(t, r.Lease)
	}
}

// subscriptionKilled kills the connection for wake-ups around each release,
// with polling as slow as it can be: coming back, the waiter polls at once.
func subscriptionKilled(t *testing.T, e *Env) {
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	a, b := e.New(e.Client(t), "killed"), e.New(e.Client(t, slow), "killed")
	for i := range 20 {
		lease := Lock(t, a)
		waiting := Go(t.Context(), b)
		e.AwaitWaiters(t, a, 1)
		kill := func() { e.Redis.ClientKillByFilter(t.Context(), "TYPE", "pubsub") }
		if i%2 == 0 {
			kill()
			Release(t, lease)
		} else {
			Release(t, lease)
			kill()
		}
		released := time.Now()
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(released); d > 5*time.Second { // a poll by pace comes after 10 s
			t.Errorf("served after %v", d)
		}
		Release(t, r.Lease)
	}
}

// cutOffHolder: a holder that Redis cannot hear, or that cannot hear Redis, stops
// before anybody else starts.
func cutOffHolder(t *testing.T, e *Env) {
	const ttl = 1200 * time.Millisecond // of which the margin is enough for a busy machine's goroutines
	for _, lost := range []struct{ requests, replies bool }{{true, true}, {true, false}, {false, true}} {
		b, p := e.proxied(t, holdfast.WithTTL(ttl))
		lease := Lock(t, e.New(b, "cut"))
		over := make(chan time.Time, 1)
		go func() {
			<-lease.Done()
			over <- time.Now()
		}()
		waiting := Go(t.Context(), e.New(e.Client(t), "cut"))
		p.Blackhole(lost.requests, lost.replies)
		r := Get(t, waiting)
		acquired := time.Now()
		if lease.Err() == nil {
			t.Error("two holders, by their own clocks")
		}
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if end := <-over; end.After(acquired) {
			t.Errorf("Done was closed %v after the next holder started", end.Sub(acquired))
		}
		if reason := lostReason(lease.Err()); reason != holdfast.LostUnreachable {
			t.Errorf("Err: %v", lease.Err())
		}
		Release(t, r.Lease)
		p.CutAll()
		p.Heal()
	}
}

// hungRedis: what closes Done never waits for Redis.
func hungRedis(t *testing.T, e *Env) {
	const ttl = 600 * time.Millisecond
	c := e.Client(t, holdfast.WithTTL(ttl))
	var leases []*holdfast.Lease
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		leases = append(leases, Lock(t, e.New(c, name)))
	}
	e.Real.Pause()
	for _, l := range leases {
		<-l.Done()
		if late := time.Since(l.Deadline()); late > time.Second {
			t.Errorf("Done was closed %v after the deadline", late)
		}
		if reason := lostReason(l.Err()); reason != holdfast.LostUnreachable {
			t.Errorf("Err: %v", l.Err())
		}
	}
	e.Real.Resume()
}

// promptWhileHung: Lock heeds its context's deadline while the command hangs,
// and a bare cancellation within the read timeout.
func promptWhileHung(t *testing.T, e *Env) {
	// go-redis sets both to 5 s unless told otherwise, which is the bound below.
	rdb := redis.NewClient(&redis.Options{Addr: e.Addr, DialTimeout: 3 * time.Second, ReadTimeout: 3 * time.Second})
	t.Cleanup(func() { _ = rdb.Close() })
	c, err := holdfast.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	l := e.New(c, "hung")
	Release(t, Lock(t, l))
	e.Real.Pause()
	defer e.Real.Resume()
	for _, lock := range []func(context.Context) (*holdfast.Lease, error){l.Lock, l.TryLock} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		before := time.Now()
		_, err := lock(ctx)
		if d := time.Since(before); d > 1100*time.Millisecond {
			t.Errorf("returned after %v, deadline 100 ms", d)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := Go(ctx, l)
	sent := time.NewTimer(50 * time.Millisecond) // by then, most likely, the command hangs
	<-sent.C
	cancel()
	before := time.Now()
	if r := Get(t, waiting); !errors.Is(r.Err, context.Canceled) {
		t.Error(r.Err)
	}
	if d := time.Since(before); d > 5*time.Second { // the read timeout is 3 s
		t.Errorf("returned %v after the cancellation", d)
	}
}

// waitsThroughTrouble: Lock waits through what passes and fails at once on what
// will not; TryLock reports both.
func waitsThroughTrouble(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	l := e.New(b, "trouble")
	for _, line := range []string{
		"LOADING Redis is loading the dataset in memory", "BUSY Redis is busy running a script",
		"OOM command not allowed when used memory > 'maxmemory'", "MISCONF Redis is configured to save RDB snapshots",
		"NOREPLICAS Not enough good replicas to write", "READONLY You can't write against a read only replica",
		"MASTERDOWN Link with MASTER is down", "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request",
	} {
		rule := p.Add(faultproxy.First(2, e.first()), faultproxy.ReplyError(line))
		if _, err := l.TryLock(t.Context()); !isReply(err) || errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("TryLock while Redis says %q: %v", line, err)
		}
		lease := Lock(t, l)
		if rule.Hits() != 2 {
			t.Errorf("%q was said %d times", line, rule.Hits())
		}
		rule.Remove()
		rule = p.Add(faultproxy.First(1, e.release()), faultproxy.ReplyError(line))
		Release(t, lease)
		rule.Remove()
	}
	lasting := []string{"NOPERM this user has no permissions", "WRONGTYPE Operation against a key", "CROSSSLOT Keys in request"}
	if e.Majority != nil {
		lasting = nil // the server that is down may come back and make a majority
	}
	for _, line := range lasting {
		rule := p.Add(faultproxy.First(1, e.first()), faultproxy.ReplyError(line))
		before := time.Now()
		if _, err := l.Lock(t.Context()); !isReply(err) {
			t.Errorf("Lock while Redis says %q: %v", line, err)
		}
		if d := time.Since(before); d > 2*time.Second {
			t.Errorf("%q: Lock waited %v", line, d)
		}
		rule.Remove()
	}
	// A wait that ends while Redis refuses says so.
	rule := p.Add(e.first(), faultproxy.ReplyError("LOADING Redis is loading the dataset in memory"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !isReply(err) {
		t.Errorf("Lock until its deadline while Redis is loading: %v", err)
	}
	rule.Remove()
}

// waitsThroughRestart: a waiter outlives the server, whose data is gone.
func waitsThroughRestart(t *testing.T, e *Env) {
	a, b := e.Client(t, holdfast.WithTTL(time.Second)), e.Client(t)
	lease := Lock(t, e.New(a, "restart"))
	waiting := Go(t.Context(), e.New(b, "restart"))
	e.AwaitWaiters(t, e.New(a, "restart"), 1)
	before := lease.Token()
	e.Real.Kill()
	e.Real.Restart()
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Lease.Token() <= before && !e.Unordered {
		t.Errorf("token %d after %d, over a restart without persistence", r.Lease.Token(), before)
	}
	Eventually(t, "the first holder to be told", func() bool { return errors.Is(lease.Err(), holdfast.ErrLost) })
	Release(t, r.Lease)
}

// closeWithDeadRedis: Close returns when its context ends and names what Redis
// has not confirmed.
func closeWithDeadRedis(t *testing.T, e *Env) {
	rdb := redis.NewClient(&redis.Options{Addr: e.Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	c, err := holdfast.New(rdb, holdfast.WithTTL(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	lease := Lock(t, e.New(c, "unconfirmed"))
	e.Real.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	before := time.Now()
	err = c.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !contains(err, "unconfirmed") {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(before); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
	if !errors.Is(lease.Err(), holdfast.ErrReleased) || !done(lease) {
		t.Errorf("the lease: %v", lease.Err())
	}
	e.Real.Resume()
	if err := c.Close(t.Context()); err != nil { // joins the goroutines
		t.Errorf("the second Close: %v", err)
	}
}
