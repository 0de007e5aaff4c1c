package redlock_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
)

// TestInspectAndForceRelease: with one of three servers down, who holds is known
// with what weight, and what is taken away is lost at once and free for the next.
func TestInspectAndForceRelease(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	l := all.lock(t, "seen", holdfast.WithHolder("the holder"), holdfast.WithTTL(12*time.Second))
	probe := all.lock(t, "seen")
	if s, err := probe.Inspect(t.Context()); err != nil || s.Used != 0 || len(s.Holders) != 0 {
		t.Errorf("free: %+v, %v", s, err)
	}
	lease := contract.Lock(t, l)
	all.awaitHolds(t, "seen", 3)
	if s, err := probe.Inspect(t.Context()); err != nil || len(s.Holders) != 1 || s.Holders[0].Weight != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	all[2].Stop()
	s, err := probe.Inspect(t.Context())
	if err != nil || s.Kind != "redlock" || s.Used != 2 || s.HolderCount != 1 || len(s.Holders) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	h := s.Holders[0]
	if h.Holder != "the holder" || h.ID != lease.ID() || h.Token != 0 || h.Weight != 2 || h.Foreign ||
		h.Remaining <= 4*time.Second || h.Remaining > 12*time.Second {
		t.Errorf("%+v", h)
	}

	if err = probe.ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	<-lease.Done()
	if d := time.Since(told); d > slow/2 { // its next renewal is due after 3.6 s
		t.Errorf("told after %v", d)
	}
	if err = lease.Err(); !errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Err: %v", err)
	}
	if err = probe.ForceRelease(t.Context(), lease.ID()); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("a second time: %v", err)
	}
	contract.Release(t, contract.Lock(t, probe))

	all[1].Stop()
	if _, err = probe.Inspect(t.Context()); err == nil || errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("without a majority: %v", err)
	}
	if err = probe.ForceRelease(t.Context(), lease.ID()); err == nil || errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("without a majority: %v", err)
	}
}
