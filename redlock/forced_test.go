package redlock_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/redlock"
)

// TestForcedDuringItsTry: a server that took its part away by force while the try
// was under way makes no majority with the others.
func TestForcedDuringItsTry(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	long := holdfast.WithTTL(2 * time.Minute) // so that the try lasts half a second
	l := redlock.New(clients, "forced", long)
	contract.Release(t, contract.Lock(t, l)) // loads the scripts
	listen(t, clients[0])

	acquires := faultproxy.IsScript(lua.MutexAcquire.Source())
	second := proxies[1].Add(acquires, faultproxy.HoldRequest)
	third := proxies[2].Add(faultproxy.First(1, acquires), faultproxy.HoldRequest)
	others := all.lock(t, "forced", long)
	waiting := contract.Go(t.Context(), l)
	contract.Eventually(t, "the first server to give it", func() bool { return all.holds(t, "forced") == 1 })
	first := proxies[0].Add(acquires, faultproxy.HoldRequest) // of later tries
	s, err := others.Inspect(t.Context())
	if err != nil || len(s.Holders) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err = others.ForceRelease(t.Context(), s.Holders[0].ID); err != nil {
		t.Fatal(err)
	}
	third.Release()
	contract.Eventually(t, "the third server to give it", func() bool {
		return all[2].Client(t).Exists(t.Context(), key("forced")).Val() == 1
	})
	other, err := others.TryLock(t.Context()) // of the first and the second
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-waiting:
		t.Fatalf("served: %v", r.Err)
	case <-time.After(100 * time.Millisecond):
	}
	contract.Release(t, other)
	for _, rule := range []*faultproxy.Rule{first, second} {
		rule.Release()
		rule.Remove()
	}
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	contract.Release(t, r.Lease)
}

// listen makes the client hear its wake-ups.
func listen(t *testing.T, c *holdfast.Client) {
	t.Helper()
	m := mutex.New(c, "listen")
	contract.Release(t, contract.Lock(t, m))
	lease := contract.Lock(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _ = mutex.New(c, "listen").Lock(ctx) // it waits for itself
	contract.Release(t, lease)
}
