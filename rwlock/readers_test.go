package rwlock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/rwlock"
)

const lockKey = "holdfast:rwlock:shared"

// slow is a BackOff under which only wake-ups are prompt: the next poll comes
// after a third of the TTL.
func slow() holdfast.Option {
	return holdfast.WithBackOff(func() holdfast.BackOff { return every(time.Hour) })
}

type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

// TestReadersShare: readers hold together, a writer waits for all of them, and
// the readers that came after it wait for the writer.
func TestReadersShare(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		a, b := rwlock.New(e.Client(t, holdfast.WithHolder("alice"), slow()), "shared"), rwlock.New(e.Client(t, slow()), "shared")
		first, second := contract.Lock(t, a.RLocker()), contract.Lock(t, b.RLocker())
		if first.Token() >= second.Token() {
			t.Error("tokens do not grow")
		}
		third, err := a.TryRLock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var held *holdfast.HeldError
		if _, err := b.TryLock(ctx); !errors.As(err, &held) || held.Holder != "alice" || held.Remaining <= 0 {
			t.Errorf("TryLock beside readers: %v", err)
		}
		writer := contract.Go(ctx, b)
		e.AwaitWaiters(t, a, 1)
		if _, err := a.TryRLock(ctx); !errors.As(err, &held) || held.Holder != "" || held.Remaining != 0 || held.Waiters != 1 {
			t.Errorf("TryRLock past a writer that waits: %+v, %v", held, err)
		}
		late := contract.Go(ctx, a.RLocker())
		e.AwaitWaiters(t, a, 2)
		contract.Release(t, first)
		contract.Release(t, third)
		if len(writer) != 0 || len(late) != 0 {
			t.Fatal("served while a reader holds the lock")
		}
		contract.Release(t, second)
		w := contract.Get(t, writer)
		if w.Err != nil {
			t.Fatal(w.Err)
		}
		if len(late) != 0 {
			t.Error("a reader beside the writer")
		}
		contract.Release(t, w.Lease)
		r := contract.Get(t, late)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
		e.NothingLeft(t)
	})
}

// TestReadersAreGrantedTogether: one release admits the readers at the head of
// the queue, however many, and not the one behind the next writer. With polling
// as slow as it can be, none is forgotten.
func TestReadersAreGrantedTogether(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		readers := 400 // more than three scripts may grant
		if e.Embedded {
			readers = 150
		}
		ctx := t.Context()
		holder := rwlock.New(e.Client(t), "shared")
		locks := []*rwlock.RWLock{rwlock.New(e.Client(t, slow()), "shared"), rwlock.New(e.Client(t, slow()), "shared")}
		lease := contract.Lock(t, holder)
		var waiting []<-chan contract.Result
		for i := range readers {
			waiting = append(waiting, contract.Go(ctx, locks[i%2].RLocker()))
		}
		e.AwaitWaiters(t, holder, readers)
		writer := contract.Go(ctx, locks[0])
		e.AwaitWaiters(t, holder, readers+1)
		behind := contract.Go(ctx, locks[1].RLocker())
		e.AwaitWaiters(t, holder, readers+2)

		released := time.Now()
		contract.Release(t, lease)
		for _, w := range waiting {
			r := contract.Get(t, w)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			defer contract.Release(t, r.Lease)
		}
		if d := time.Since(released); d > 5*time.Second { // a poll comes 7.5 s after the one before, or later
			t.Errorf("all readers were in after %v", d)
		}
		if len(writer) != 0 || len(behind) != 0 {
			t.Error("the writer did not wait, or a reader passed it")
		}
		t.Cleanup(func() {
			for _, in := range []<-chan contract.Result{writer, behind} {
				if r := contract.Get(t, in); r.Err == nil {
					_ = r.Lease.Release(context.WithoutCancel(ctx))
				}
			}
		})
	})
}

// TestGrantsGoOn: what a release could not grant in one script goes on although
// the one who released, or the one who was woken, does not see to it.
func TestGrantsGoOn(t *testing.T) {
	t.Parallel()
	const readers = 300
	pump := faultproxy.IsScript(lua.WeightedPump.Source())
	for name, cut := range map[string]func(releaser, woken *faultproxy.Proxy){
		"without the releaser": func(releaser, _ *faultproxy.Proxy) { releaser.Add(pump, faultproxy.CutBeforeForward) },
		"without the woken": func(_, woken *faultproxy.Proxy) {
			woken.Add(pump, faultproxy.CutBeforeForward)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
				first, second := faultproxy.New(t, e.Addr), faultproxy.New(t, e.Addr)
				a, _ := e.ClientAt(t, first.Addr())
				b, _ := e.ClientAt(t, second.Addr(), slow())
				e.Subscribe(t, b) // or it would poll for all once it has
				lease := contract.Lock(t, rwlock.New(a, "shared"))
				probe := rwlock.New(e.Client(t), "shared")
				waiting := make([]<-chan contract.Result, readers)
				for i := range waiting {
					waiting[i] = contract.Go(t.Context(), rwlock.New(b, "shared").RLocker())
				}
				e.AwaitWaiters(t, probe, readers)
				cut(first, second)
				released := time.Now()
				contract.Release(t, lease)
				for _, w := range waiting {
					if r := contract.Get(t, w); r.Err != nil {
						t.Fatal(r.Err)
					} else {
						defer contract.Release(t, r.Lease)
					}
				}
				if d := time.Since(released); d > 8*time.Second { // a poll comes after 10 s
					t.Errorf("all were in after %v", d)
				}
			})
		})
	}
}

// TestDeadReader: one that no longer renews is out at its own TTL, although
// others hold the lock for longer.
func TestDeadReader(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 300 * time.Millisecond
		dead := contract.Lock(t, rwlock.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal()), "shared").RLocker())
		rw := rwlock.New(e.Client(t), "shared")
		live := contract.Lock(t, rw.RLocker())
		writer := contract.Go(t.Context(), rw)
		e.AwaitWaiters(t, rw, 1)
		contract.Release(t, live)
		w := contract.Get(t, writer)
		if w.Err != nil {
			t.Fatal(w.Err)
		}
		if dead.Err() == nil {
			t.Error("a writer beside a reader, by their own clocks")
		}
		if late := time.Since(dead.Deadline()); late > 5*time.Second {
			t.Errorf("the writer ran %v after the reader's end", late)
		}
		contract.Release(t, w.Lease)
		e.NothingLeft(t)
	})
}

// TestReaderIsNotTaken: what a reader lost beside other readers was removed;
// only what excludes it has taken its place.
func TestReaderIsNotTaken(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw := rwlock.New(e.Client(t), "shared")
		for name, look := range map[string]func(*holdfast.Lease) error{
			"Renew":   func(l *holdfast.Lease) error { return l.Renew(t.Context()) },
			"Release": func(l *holdfast.Lease) error { return l.Release(t.Context()) },
		} {
			lost := contract.Lock(t, rw.RLocker())
			e.Redis.Del(t.Context(), lockKey)
			beside := contract.Lock(t, rw.RLocker())
			if err := look(lost); lostReason(err) != holdfast.LostRemoved {
				t.Errorf("%s beside a reader: %v", name, err)
			}
			contract.Release(t, beside)

			lost = contract.Lock(t, rw.RLocker())
			e.Redis.Del(t.Context(), lockKey)
			writer := contract.Lock(t, rw)
			if err := look(lost); lostReason(err) != holdfast.LostTaken {
				t.Errorf("%s with a writer in its place: %v", name, err)
			}
			contract.Release(t, writer)
		}
	})
}

// TestForeignSet: with no prefix the key may be another program's sorted set,
// which is refused and left alone.
func TestForeignSet(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw := rwlock.New(e.Client(t, holdfast.WithPrefix("")), "jobs")
		lease := contract.Lock(t, rw)
		e.Redis.Del(t.Context(), "jobs")
		for _, score := range []float64{-5, 0, 7, float64(time.Now().Add(time.Hour).UnixMilli())} {
			e.Redis.ZAdd(t.Context(), "jobs", redis.Z{Score: score, Member: "send mails"})
			for _, f := range []func(context.Context) (*holdfast.Lease, error){rw.Lock, rw.TryLock, rw.RLock, rw.TryRLock} {
				if _, err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
					t.Errorf("score %v: %v", score, err)
				}
			}
			if err := lease.Renew(t.Context()); score == -5 && lostReason(err) == "" {
				t.Errorf("Renew: %v", err)
			}
			if n := e.Redis.ZCard(t.Context(), "jobs").Val(); n != 1 {
				t.Errorf("%d members, 1 before", n)
			}
			e.Redis.Del(t.Context(), "jobs")
		}
	})
}

// TestNoUpgrade: a reader that wants to write waits like anybody else; a writer
// that locks again would wait for itself, and is told.
func TestNoUpgrade(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw := rwlock.New(e.Client(t), "shared")
		reader := contract.Lock(t, rw.RLocker())
		ctx, cancel := context.WithTimeout(reader.Context(t.Context()), 100*time.Millisecond)
		defer cancel()
		if _, err := rw.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("Lock while holding RLock: %v", err)
		}
		again, err := rw.RLock(reader.Context(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		contract.Release(t, again)
		contract.Release(t, reader)

		writer := contract.Lock(t, rw)
		inside := writer.Context(t.Context())
		for name, f := range map[string]func(context.Context) (*holdfast.Lease, error){
			"Lock": rw.Lock, "RLock": rw.RLock, "TryRLock": rw.TryRLock,
		} {
			if _, err := f(inside); !errors.Is(err, holdfast.ErrInvalid) {
				t.Errorf("%s inside a writer: %v", name, err)
			}
		}
		contract.Release(t, writer)
	})
}

func TestZeroRWLock(t *testing.T) {
	t.Parallel()
	for _, rw := range []*rwlock.RWLock{nil, {}} {
		_, lock := rw.Lock(t.Context())
		_, rlock := rw.RLock(t.Context())
		_, try := rw.TryLock(t.Context())
		_, tryR := rw.TryRLock(t.Context())
		_, down := rw.Downgrade(t.Context(), nil)
		do := rw.Do(t.Context(), func(context.Context) error { return nil })
		rdo := rw.RDo(t.Context(), func(context.Context) error { return nil })
		_, locker := rw.RLocker().Lock(t.Context())
		for _, err := range []error{lock, rlock, try, tryR, down, do, rdo, locker} {
			if !errors.Is(err, holdfast.ErrInvalid) {
				t.Error(err)
			}
		}
		if rw.Name() != "" {
			t.Error(rw.Name())
		}
	}
}

// TestManyWaitersPollTogether: what a thousand waiting readers of one process
// cost Redis while nothing happens.
func TestManyWaitersPollTogether(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		const readers, seconds = 1000, 3
		probe := rwlock.New(e.Client(t), "shared")
		lease := contract.Lock(t, probe)
		c := e.Client(t)
		waiting := make([]<-chan contract.Result, readers)
		for i := range waiting {
			waiting[i] = contract.Go(t.Context(), rwlock.New(c, "shared").RLocker())
		}
		e.AwaitWaiters(t, probe, readers)
		count := e.Real.CountClientCommands(t)
		from := time.Now()
		contract.Eventually(t, "some seconds to pass", func() bool { return time.Since(from) > seconds*time.Second })
		polls := count.Total()
		if most := int64(seconds * 60); polls > most { // one by one they are about 2,000 a second
			t.Errorf("%d commands in %d s, want %d at most: %v", polls, seconds, most, count.ByName())
		}
		t.Logf("%d commands in %d s", polls, seconds)
		contract.Release(t, lease)
		for _, w := range waiting {
			r := contract.Get(t, w)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			contract.Release(t, r.Lease)
		}
	})
}
