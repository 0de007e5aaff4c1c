package mutex_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/mutex"
)

// seldom is a BackOff of an hour.
type seldom struct{}

func (seldom) NextBackOff() time.Duration { return time.Hour }
func (seldom) Reset()                     {}

// TestForeignHolder: another library's "SET name value NX PX ttl" is a lock,
// whoever waits for it polls, and a key without TTL has no end to report.
func TestForeignHolder(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		// By its own pace it would poll after 10 s.
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return seldom{} })
		m := mutex.New(e.Client(t, holdfast.WithPrefix(""), slow), "shared")
		var held *holdfast.HeldError

		e.Redis.Set(ctx, "shared", "somebody", 20*time.Second)
		if _, err := m.TryLock(ctx); !errors.As(err, &held) || !held.Foreign || held.Remaining < 10*time.Second {
			t.Errorf("TryLock: %v", err)
		}
		waiting := contract.Go(ctx, m)
		probe := mutex.New(e.Client(t, holdfast.WithPrefix("")), "shared")
		e.AwaitWaiters(t, probe, 1)
		e.Redis.Del(ctx, "shared") // how the other library releases: it wakes nobody
		released := time.Now()
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(released); d > 5*time.Second {
			t.Errorf("the waiter ran after %v", d)
		}
		if ok, err := e.Redis.SetNX(ctx, "shared", "somebody", time.Second).Result(); ok || err != nil {
			t.Errorf("another library locked what Holdfast holds: %v, %v", ok, err)
		}
		contract.Release(t, r.Lease)

		e.Redis.Set(ctx, "shared", "for ever", 0)
		if _, err := m.TryLock(ctx); !errors.As(err, &held) || !held.Foreign || held.Remaining != 0 || !strings.Contains(err.Error(), "without an end") {
			t.Errorf("TryLock of a key without TTL: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := m.Lock(short); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &held) {
			t.Errorf("Lock of a key without TTL: %v", err)
		}
	})
}

// TestInspectForeign: what another library holds is shown as it is, and is not
// ours to take away.
func TestInspectForeign(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		m := mutex.New(e.Client(t, holdfast.WithPrefix("")), "shared")
		for _, value := range []string{"somebody", "a b c d e", "- b c d e", "", "\x00\xff \n"} {
			e.Redis.Set(ctx, "shared", value, 0)
			s, err := m.Inspect(ctx)
			if err != nil || len(s.Holders) != 1 {
				t.Fatalf("%+v, %v", s, err)
			}
			if want := (holdfast.Holder{Holder: value, Foreign: true, Weight: 1}); s.Holders[0] != want {
				t.Errorf("%+v, not %+v", s.Holders[0], want)
			}
		}
		e.Redis.Set(ctx, "shared", "somebody", 20*time.Second)
		if s, err := m.Inspect(ctx); err != nil || s.Holders[0].Remaining < 10*time.Second {
			t.Errorf("%+v, %v", s, err)
		}
		if err := m.ForceRelease(ctx, "somebody"); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("ForceRelease: %v", err)
		}
	})
}

// TestInspectResting: a lock that was released within its minimum hold is shown
// as that.
func TestInspectResting(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t, holdfast.WithHolder("cron"), holdfast.WithMinHold(time.Minute)), "daily")
		contract.Release(t, contract.Lock(t, m))
		s, err := m.Inspect(t.Context())
		if err != nil || len(s.Holders) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		h := s.Holders[0]
		if !h.Resting || h.Holder != "cron" || h.ID != "" || h.Token != 0 || h.Remaining < 30*time.Second || h.Remaining > time.Minute {
			t.Errorf("%+v", h)
		}
	})
}
