package semaphore_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/semaphore"
)

// TestInspect: of several holders each has its own entry, the one that ends first
// being first, and a forced release gives back what was that one's.
func TestInspect(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		s := func(holder string, ttl time.Duration, opts ...holdfast.Option) *semaphore.Semaphore {
			return semaphore.New(e.Client(t, append(opts, holdfast.WithHolder(holder), holdfast.WithTTL(ttl))...), "pool", 10)
		}
		long, short := s("long", 50*time.Second), s("short and sweet", 20*time.Second)
		three := lock(t, permits{long, 3})
		two := lock(t, permits{short, 2})
		contract.Release(t, lock(t, permits{s("resting", 10*time.Second, holdfast.WithMinHold(time.Minute)), 4}))
		waiting := contract.Go(ctx, permits{short, 7})
		e.AwaitWaiters(t, permits{long, 10}, 1)

		state, err := long.Inspect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if state.Used != 9 || state.HolderCount != 3 || state.WaiterCount != 1 || state.Token < two.Token() {
			t.Errorf("%+v", state)
		}
		var got []holdfast.Holder
		for _, h := range state.Holders {
			if h.Remaining <= 5*time.Second || h.Remaining > time.Minute {
				t.Errorf("%v left of %s", h.Remaining, h.Holder)
			}
			h.Remaining = 0
			got = append(got, h)
		}
		want := []holdfast.Holder{
			{Holder: "short and sweet", ID: two.ID(), Token: two.Token(), Weight: 2},
			{Holder: "long", ID: three.ID(), Token: three.Token(), Weight: 3},
			{Holder: "resting", Weight: 4, Resting: true},
		}
		for i := range want {
			if len(got) != 3 || got[i] != want[i] {
				t.Fatalf("%+v, not %+v", got, want)
			}
		}
		if w := state.Waiters[0]; w.Weight != 7 || w.Holder != "short and sweet" || !w.Alive {
			t.Errorf("%+v", w)
		}

		if err = short.ForceRelease(ctx, three.ID()); err != nil {
			t.Fatal(err)
		}
		<-three.Done()
		now, err := long.Inspect(ctx)
		if err != nil || now.Used != 6 || now.WaiterCount != 1 {
			t.Errorf("%+v, %v", now, err)
		}
		if err = two.Renew(ctx); err != nil {
			t.Errorf("the other holder: %v", err)
		}
		contract.Release(t, two)
		ended, err := long.Inspect(ctx)
		if err != nil || ended.Used != 4 || ended.WaiterCount != 1 { // seven do not fit beside the four that rest
			t.Errorf("%+v, %v", ended, err)
		}
		if err = long.ForceRelease(ctx, state.Waiters[0].ID); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("of one who waits: %v", err)
		}
		e.Redis.FlushAll(ctx)
		if r := contract.Get(t, waiting); r.Err != nil {
			t.Error(r.Err)
		} else {
			contract.Release(t, r.Lease)
		}
	})
}

// TestForceReleaseAmongMany: the holder is found among more than one page.
func TestForceReleaseAmongMany(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) { // the embedded server is slow with so many
		const many = 1500
		c := e.Client(t)
		s := semaphore.New(c, "many", many)
		var last *holdfast.Lease
		leases := make([]*holdfast.Lease, many)
		for i := range leases {
			leases[i] = lock(t, permits{s, 1})
			last = leases[i]
		}
		state, err := s.Inspect(t.Context())
		if err != nil || state.HolderCount != many || len(state.Holders) != 1000 || state.Used != many {
			t.Fatalf("%d holders, %d listed, %d used, %v", state.HolderCount, len(state.Holders), state.Used, err)
		}
		if err := s.ForceRelease(t.Context(), last.ID()); err != nil {
			t.Error(err)
		}
		<-last.Done()
		if state, err := s.Inspect(t.Context()); err != nil || state.Used != many-1 {
			t.Errorf("%d used, %v", state.Used, err)
		}
		runtime.KeepAlive(leases)
	})
}

func lock(t *testing.T, p permits) *holdfast.Lease {
	t.Helper()
	return contract.Lock(t, p)
}
