package reentrant_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/reentrant"
)

// TestInspect: each lease of the owner has its entry, and a forced release takes
// one of them away, not the lock.
func TestInspect(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const owner = "order 42: the owner"
		ctx := reentrant.WithOwner(t.Context(), owner)
		m := reentrant.New(e.Client(t, holdfast.WithHolder("a holder")), "seen")
		outer, inner := lock(t, ctx, m), lock(t, ctx, m)
		other := contract.Go(reentrant.WithOwner(t.Context(), "another"), reentrant.New(e.Client(t), "seen"))
		e.AwaitWaiters(t, m, 1)

		s, err := m.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Used != 2 || s.HolderCount != 2 || len(s.Holders) != 2 || s.WaiterCount != 1 || s.Waiters[0].Owner != "another" {
			t.Fatalf("%+v", s)
		}
		for i, lease := range []*holdfast.Lease{outer, inner} {
			h := s.Holders[i]
			if h.ID != lease.ID() || h.Owner != owner || h.Holder != "a holder" || h.Token != outer.Token() || h.Weight != 1 ||
				h.Remaining <= 10*time.Second || h.Remaining > 30*time.Second {
				t.Errorf("%+v", h)
			}
		}
		if err := m.ForceRelease(t.Context(), outer.ID()); err != nil {
			t.Fatal(err)
		}
		<-outer.Done()
		if err := inner.Renew(t.Context()); err != nil {
			t.Errorf("the other lease of the owner: %v", err)
		}
		if n := count(t, e, "seen"); n != "1" {
			t.Errorf("count %s", n)
		}
		if err := m.ForceRelease(t.Context(), inner.ID()); err != nil {
			t.Fatal(err)
		}
		<-inner.Done()
		r := contract.Get(t, other)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
		e.NothingLeft(t)
	})
}

// TestInspectRedisson: what Redisson holds is shown with its owner and count, and
// a forced release wakes Redisson's waiters.
func TestInspectRedisson(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := reentrant.New(e.Client(t, holdfast.WithPrefix("")), sharedName, holdfast.WithRedisson())
		j := java{t, e.Redis, "5a52b5ac-9f3e-4c5e-9b0a-6f1b0f0d0d0d:77"}
		for range 2 {
			j.tryLock(20 * time.Second)
		}
		s, err := m.Inspect(t.Context())
		if err != nil || s.Used != 2 || len(s.Holders) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		h := s.Holders[0]
		if !h.Foreign || h.Owner != j.owner || h.ID != "" || h.Token != 0 || h.Weight != 2 || h.Remaining < 10*time.Second {
			t.Errorf("%+v", h)
		}
		j.unlock(20 * time.Second)
		j.unlock(20 * time.Second)

		lease := contract.Lock(t, m)
		heard := e.Redis.Subscribe(t.Context(), sharedChannel)
		defer func() { _ = heard.Close() }()
		if _, err := heard.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.ForceRelease(t.Context(), lease.ID()); err != nil {
			t.Fatal(err)
		}
		if message, err := heard.ReceiveMessage(t.Context()); err != nil || message.Payload != "0" {
			t.Errorf("%v, %v", message, err)
		}
		<-lease.Done()
	})
}
