package contract

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
)

func lostReason(err error) holdfast.LostReason {
	var lost *holdfast.LostError
	if !errors.As(err, &lost) || !errors.Is(err, holdfast.ErrLost) {
		return ""
	}
	return lost.Reason
}

func done(l *holdfast.Lease) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// renews holds a lease for many TTLs.
func renews(t *testing.T, e *Env) {
	const ttl = 300 * time.Millisecond
	lease := Lock(t, e.New(e.Client(t, holdfast.WithTTL(ttl)), "renewed"))
	first := lease.Deadline()
	Eventually(t, "the deadline to move by several TTLs", func() bool {
		if err := lease.Err(); err != nil {
			t.Fatalf("lost while it is renewed: %v", err)
		}
		return lease.Deadline().After(first.Add(4 * ttl))
	})
	if _, err := e.New(e.Client(t), "renewed").TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock of a renewed lock: %v", err)
	}
	if done(lease) {
		t.Error("Done is closed")
	}
	Release(t, lease)
}

// deadlineIsMonotonic: a deadline has the reading of the clock that is never set,
// at first and after a renewal, or a step of the other one would move its end.
func deadlineIsMonotonic(t *testing.T, e *Env) {
	lease := Lock(t, e.New(e.Client(t), "monotonic"))
	defer Release(t, lease)
	for _, when := range []string{"acquired", "renewed"} {
		// Nothing in package time tells it but the text.
		if d := lease.Deadline(); !strings.Contains(d.String(), " m=") {
			t.Errorf("when %s: %v", when, d)
		}
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func withoutRenewalEndsAtTTL(t *testing.T, e *Env) {
	const ttl = 200 * time.Millisecond
	l := e.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal()), "short")
	lease, err := l.TryLock(t.Context()) // sends once
	if err != nil {
		t.Fatal(err)
	}
	left := e.Redis.PTTL(t.Context(), e.lockKey(t, lease)).Val()
	if d := time.Until(lease.Deadline()); left > 0 && d > left+time.Millisecond {
		t.Errorf("the deadline is in %v, %v are left at the server", d, left)
	}
	select {
	case <-lease.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("Done is never closed")
	}
	if time.Now().Before(lease.Deadline()) {
		t.Error("Done before the deadline")
	}
	if r := lostReason(lease.Err()); r != holdfast.LostExpired {
		t.Errorf("Err: %v", lease.Err())
	}
	if err := lease.Release(t.Context()); lostReason(err) != holdfast.LostExpired {
		t.Errorf("Release after the end: %v", err)
	}
}

func renewExtends(t *testing.T, e *Env) {
	const ttl = 2 * time.Second
	lease := Lock(t, e.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal()), "renew"))
	first := lease.Deadline()
	time.Sleep(5 * time.Millisecond) // so that the new deadline differs
	if err := lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !lease.Deadline().After(first) {
		t.Error("the deadline did not move")
	}
	if left := e.Redis.PTTL(t.Context(), e.lockKey(t, lease)).Val(); left < ttl-time.Second {
		t.Errorf("%v left at the server", left)
	}
	Release(t, lease)
	if err := lease.Renew(t.Context()); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("Renew after Release: %v", err)
	}
}

func maxHold(t *testing.T, e *Env) {
	const ttl, limit = 900 * time.Millisecond, time.Second
	before := time.Now()
	lease := Lock(t, e.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithMaxHold(limit)), "maxhold"))
	after := time.Now()
	<-lease.Done()
	if d := time.Since(before); d < limit-ttl/3 {
		t.Errorf("the lease ended after %v, limit %v", d, limit)
	}
	if d := lease.Deadline().Sub(after); d > limit+ttl {
		t.Errorf("the lease lasted %v, limit %v and TTL %v", d, limit, ttl)
	}
	if r := lostReason(lease.Err()); r != holdfast.LostExpired {
		t.Error(lease.Err())
	}
}

// minHold: the lock stays taken after an early release, then the next waiter,
// who is told to look again, gets it.
func minHold(t *testing.T, e *Env) {
	const least = 400 * time.Millisecond
	a := e.New(e.Client(t, holdfast.WithHolder("the job")), "minhold", holdfast.WithMinHold(least))
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	b := e.New(e.Client(t, slow), "minhold")
	lease := Lock(t, a)
	acquired := time.Now()
	waiting := Go(t.Context(), b)
	e.AwaitWaiters(t, a, 1)
	Release(t, lease)
	var held *holdfast.HeldError
	if _, err := a.TryLock(t.Context()); !errors.As(err, &held) || held.Holder != "the job" || held.Remaining > least {
		t.Errorf("TryLock within the minimum hold: %v", err)
	}
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	passed := time.Since(acquired)
	if passed < least-5*time.Millisecond || passed > least+5*time.Second {
		t.Errorf("the next waiter ran %v after the acquire, minimum hold %v", passed, least)
	}
	Release(t, r.Lease)
	e.NothingLeft(t)
}

func lostRemoved(t *testing.T, e *Env) {
	const ttl = 600 * time.Millisecond
	lease := Lock(t, e.New(e.Client(t, holdfast.WithTTL(ttl)), "removed"))
	if err := e.remove(t, lease); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	<-lease.Done()
	if r := lostReason(lease.Err()); r != holdfast.LostRemoved {
		t.Errorf("Err: %v", lease.Err())
	}
	if d := time.Since(removed); d > ttl {
		t.Errorf("told %v after the removal, TTL %v", d, ttl)
	}

	lease = Lock(t, e.New(e.Client(t), "removed"))
	if err := e.remove(t, lease); err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); lostReason(err) != holdfast.LostRemoved {
		t.Errorf("Release: %v", err)
	}
	lease = Lock(t, e.New(e.Client(t), "removed"))
	if err := e.remove(t, lease); err != nil {
		t.Fatal(err)
	}
	if err := lease.Renew(t.Context()); lostReason(err) != holdfast.LostRemoved {
		t.Errorf("Renew: %v", err)
	}
	if n := e.Redis.Exists(t.Context(), e.lockKey(t, lease)).Val(); n != 0 {
		t.Error("the renewal made the key again")
	}
}

func lostTaken(t *testing.T, e *Env) {
	a, b := e.New(e.Client(t), "taken"), e.New(e.Client(t), "taken")
	for name, look := range map[string]func(*holdfast.Lease) error{
		"Renew":   func(l *holdfast.Lease) error { return l.Renew(t.Context()) },
		"Release": func(l *holdfast.Lease) error { return l.Release(t.Context()) },
	} {
		lease := Lock(t, a)
		if err := e.remove(t, lease); err != nil {
			t.Fatal(err)
		}
		other := Lock(t, b)
		if err := look(lease); lostReason(err) != holdfast.LostTaken {
			t.Errorf("%s: %v", name, err)
		}
		if err := other.Renew(t.Context()); err != nil {
			t.Errorf("the other's lease: %v", err)
		}
		Release(t, other)
	}
}

// releaseAfterLoss: what a lost lease's end sends does not touch the next holder.
func releaseAfterLoss(t *testing.T, e *Env) {
	a := e.New(e.Client(t, holdfast.WithTTL(100*time.Millisecond), holdfast.WithoutRenewal()), "after")
	b := e.New(e.Client(t), "after")
	lost := Lock(t, a)
	lease := Lock(t, b)
	if err := lost.Release(t.Context()); !errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Release of a lost lease: %v", err)
	}
	for range 20 {
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	Release(t, lease)
}

func releaseTwice(t *testing.T, e *Env) {
	a, b := e.New(e.Client(t), "twice"), e.New(e.Client(t), "twice")
	lease := Lock(t, a)
	Release(t, lease)
	if !done(lease) || !errors.Is(lease.Err(), holdfast.ErrReleased) {
		t.Errorf("after Release: %v", lease.Err())
	}
	other := Lock(t, b)
	if err := lease.Release(t.Context()); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("second Release: %v", err)
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Errorf("the second Release harmed the next holder: %v", err)
	}
	Release(t, other)
}

func releaseWithEndedContext(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "cancelled")
	ctx, cancel := context.WithCancel(t.Context())
	lease, err := l.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if lease.Err() != nil {
		t.Errorf("the end of Lock's context ended the lease: %v", lease.Err())
	}
	if err := lease.Release(ctx); err != nil {
		t.Errorf("Release: %v", err)
	}
	e.NothingLeft(t)
}

func contextEndsWithLease(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "ctx")
	type key struct{}
	parent := context.WithValue(t.Context(), key{}, "value")
	lease := Lock(t, l)
	before := runtime.NumGoroutine()
	ctx := lease.Context(parent)
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if n := runtime.NumGoroutine(); n > before+2 { // other tests run beside this one
		t.Logf("%d goroutines, %d before", n, before)
	}
	if got, ok := holdfast.FromContext(child); !ok || got != lease || ctx.Value(key{}) != "value" || ctx.Err() != nil {
		t.Error("the context does not carry what it should")
	}
	if _, ok := holdfast.FromContext(parent); ok {
		t.Error("a lease out of nothing")
	}
	Release(t, lease)
	for _, c := range []context.Context{ctx, child} {
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), holdfast.ErrReleased) {
			t.Errorf("after Release: %v, cause %v", c.Err(), context.Cause(c))
		}
	}
	late := lease.Context(parent)
	if !errors.Is(context.Cause(late), holdfast.ErrReleased) {
		t.Errorf("a context of a lease that is over: %v", context.Cause(late))
	}

	short := Lock(t, e.New(e.Client(t, holdfast.WithTTL(100*time.Millisecond), holdfast.WithoutRenewal()), "ctx"))
	ctx = short.Context(t.Context())
	<-ctx.Done()
	if lostReason(context.Cause(ctx)) != holdfast.LostExpired {
		t.Errorf("cause of a lost lease: %v", context.Cause(ctx))
	}

	parent, stop := context.WithCancel(t.Context())
	lease = Lock(t, l)
	ctx = lease.Context(parent)
	stop()
	if !errors.Is(ctx.Err(), context.Canceled) || lease.Err() != nil {
		t.Errorf("the parent's end: %v, lease %v", ctx.Err(), lease.Err())
	}
	Release(t, lease)
}

// contextIsFreed: a long lease from which a context is made for each request
// does not keep them.
func contextIsFreed(t *testing.T, e *Env) {
	lease := Lock(t, e.New(e.Client(t), "freed"))
	freed := make(chan struct{}, 100)
	for range 100 {
		func() {
			parent, cancel := context.WithCancel(t.Context())
			ctx := lease.Context(parent)
			payload := new([1 << 16]byte)
			runtime.AddCleanup(payload, func(struct{}) { freed <- struct{}{} }, struct{}{})
			_ = context.WithValue(ctx, new(int), payload)
			kept := context.WithValue(parent, new(int), payload)
			_ = lease.Context(kept)
			cancel()
		}()
	}
	Eventually(t, "the contexts to be freed", func() bool {
		runtime.GC()
		return len(freed) >= 95
	})
	Release(t, lease)
}

func carriedLeaseIsRefused(t *testing.T, e *Env) {
	if e.Reenters {
		return // it is what that lock is for
	}
	c := e.Client(t)
	l, other := e.New(c, "carried"), e.New(c, "other")
	err := l.Do(t.Context(), func(ctx context.Context) error {
		return other.Do(ctx, func(ctx context.Context) error { // a different lock is fine
			for _, lock := range []func(context.Context) (*holdfast.Lease, error){l.Lock, l.TryLock} {
				if _, err := lock(ctx); !errors.Is(err, holdfast.ErrInvalid) {
					t.Errorf("locking what the context carries: %v", err)
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	lease := Lock(t, l)
	ctx := lease.Context(t.Context())
	Release(t, lease)
	if _, err := l.Lock(context.WithoutCancel(ctx)); err != nil {
		t.Errorf("a lease that is over is in the way: %v", err)
	}
}

// leakedLease: a lease that nobody can reach is released.
func leakedLease(t *testing.T, e *Env) {
	c := e.Client(t)
	func() { _ = Lock(t, e.New(c, "leaked")) }()
	other := e.New(e.Client(t), "leaked")
	Eventually(t, "the leaked lease to be released", func() bool {
		runtime.GC()
		lease, err := other.TryLock(t.Context())
		if err != nil {
			return false
		}
		Release(t, lease)
		return true
	})
}
