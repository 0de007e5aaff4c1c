package contract

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
)

func doRuns(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "do")
	probe := e.New(e.Client(t), "do")
	failure := errors.New("the work failed")
	for _, want := range []error{nil, failure} {
		err := l.Do(t.Context(), func(ctx context.Context) error {
			lease, ok := holdfast.FromContext(ctx)
			if !ok || lease.Err() != nil {
				t.Error("no live lease in the context")
			}
			if _, err := probe.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
				t.Errorf("the lock is not held: %v", err)
			}
			return want
		})
		if err != want { //nolint:errorlint // it is returned as it is
			t.Errorf("Do returned %v, fn %v", err, want)
		}
	}
	if err := l.Do(t.Context(), nil); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("Do(nil): %v", err)
	}
	// fn may release early.
	err := l.Do(t.Context(), func(ctx context.Context) error {
		lease, _ := holdfast.FromContext(ctx)
		return lease.Release(ctx)
	})
	if err != nil {
		t.Errorf("an early Release: %v", err)
	}
	e.NothingLeft(t)
}

func doReportsLoss(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "doloss")
	failure := errors.New("the work failed")
	for _, worked := range []error{nil, failure} {
		err := l.Do(t.Context(), func(ctx context.Context) error {
			lease, _ := holdfast.FromContext(ctx)
			return errors.Join(e.remove(t, lease), worked)
		})
		if lostReason(err) != holdfast.LostRemoved {
			t.Errorf("Do of a lost lease: %v", err)
		}
		if worked != nil && !errors.Is(err, worked) {
			t.Errorf("fn's error is missing: %v", err)
		}
	}
	short := e.New(e.Client(t, holdfast.WithTTL(100*time.Millisecond), holdfast.WithoutRenewal()), "doloss")
	err := short.Do(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	if lostReason(err) != holdfast.LostExpired {
		t.Errorf("Do past the TTL: %v", err)
	}
}

func doReleasesOnPanic(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "panic")
	func() {
		defer func() {
			if recover() != "oh no" {
				t.Error("the panic did not come through")
			}
		}()
		_ = l.Do(t.Context(), func(context.Context) error { panic("oh no") })
	}()
	e.NothingLeft(t)
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = l.Do(t.Context(), func(context.Context) error {
			runtime.Goexit()
			return nil
		})
		t.Error("Do returned after Goexit")
	}()
	<-exited
	e.NothingLeft(t)
}
