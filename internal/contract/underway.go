package contract

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// What is under way while something else happens.

// lateRenewal: a renewal whose answer is long under way extends the lease from its
// send, which is when Redis may have begun to count.
func lateRenewal(t *testing.T, e *Env) {
	const ttl, delay = 30 * time.Second, 300 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal())
	lease := Lock(t, e.New(b, "renew"))
	defer Release(t, lease)
	rule := p.Add(e.renew(), faultproxy.HoldReply)
	sent := time.Now()
	done := make(chan error, 1)
	go func() { done <- lease.Renew(t.Context()) }()
	hit(t, rule)
	Eventually(t, "the answer to be late", func() bool { return time.Since(sent) > delay })
	reached := time.Now() // Redis has it since before
	rule.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := lease.Deadline(); d.After(reached.Add(ttl - delay - ttl/100)) { // the margin is more than that
		t.Errorf("the lease lasts until %v after its answer, of a TTL of %v", d.Sub(reached), ttl)
	}
}

// subscribedLate: the lock is released while the waiter's first subscription is under
// way, so nobody hears of the grant. With polling as slow as it can be the waiter
// asks all the same: while it cannot be told, and once it can.
func subscribedLate(t *testing.T, e *Env) {
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	for _, comes := range []bool{false, true} {
		b, p := e.proxied(t, slow)
		subscription := p.Add(faultproxy.IsCommand("subscribe"), faultproxy.HoldRequest)
		a := e.New(e.Client(t), "late")
		lease := Lock(t, a)
		waiting := Go(t.Context(), e.New(b, "late"))
		e.AwaitWaiters(t, a, 1)
		hit(t, subscription)
		Release(t, lease)
		released := time.Now()
		if comes {
			subscription.Release()
		}
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(released); d > 5*time.Second { // a poll by pace comes after 10 s
			t.Errorf("served after %v", d)
		}
		Release(t, r.Lease)
		subscription.Release()
		subscription.Remove()
	}
}

// renewalAtRelease: a renewal is under way, there or back, while its lease is
// released. It brings nothing back, and Release does not wait for it.
func renewalAtRelease(t *testing.T, e *Env) {
	const ttl = 900 * time.Millisecond
	for _, action := range []faultproxy.Action{faultproxy.HoldRequest, faultproxy.HoldReply} {
		b, p := e.proxied(t, holdfast.WithTTL(ttl))
		lease := Lock(t, e.New(b, "renewing"))
		renewal := p.Add(faultproxy.First(1, e.renew()), action)
		hit(t, renewal) // the watchdog's
		if err := lease.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
		next := Lock(t, e.New(e.Client(t), "renewing"))
		renewal.Release()
		renewal.Remove()
		e.arrive(t, b)
		if err := lease.Err(); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("the released lease: %v", err)
		}
		if err := next.Renew(t.Context()); err != nil {
			t.Errorf("the next holder: %v", err)
		}
		Release(t, next)
		e.free(t, "renewing")
	}
}
