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
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/rwlock"
)

func lostReason(err error) holdfast.LostReason {
	var lost *holdfast.LostError
	if !errors.As(err, &lost) {
		return ""
	}
	return lost.Reason
}

// TestDowngrade: the writer's lease is over, the reader's is the same
// acquisition, the readers at the head get in, and no writer does.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		rw, other := rwlock.New(e.Client(t), "shared"), rwlock.New(e.Client(t, slow()), "shared")
		w := contract.Lock(t, rw)
		inside := w.Context(ctx)
		first := contract.Go(ctx, other.RLocker())
		e.AwaitWaiters(t, rw, 1)
		writer := contract.Go(ctx, other)
		e.AwaitWaiters(t, rw, 2)
		late := contract.Go(ctx, other.RLocker())
		e.AwaitWaiters(t, rw, 3)

		r, err := rw.Downgrade(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(w.Err(), holdfast.ErrReleased) || inside.Err() == nil {
			t.Errorf("the writer's lease: %v, its context: %v", w.Err(), inside.Err())
		}
		if r.Err() != nil || r.ID() != w.ID() || r.Token() != w.Token() || r.Name() != "shared" {
			t.Errorf("the reader's lease: %v, id %s and %s, token %d and %d", r.Err(), r.ID(), w.ID(), r.Token(), w.Token())
		}
		one := contract.Get(t, first)
		if one.Err != nil {
			t.Fatal(one.Err)
		}
		if len(writer) != 0 || len(late) != 0 {
			t.Error("a writer beside readers, or a reader before it")
		}
		if err := w.Release(ctx); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("Release of the writer's lease: %v", err)
		}
		if err := r.Renew(ctx); err != nil {
			t.Errorf("Renew of the reader: %v", err)
		}
		contract.Release(t, r)
		contract.Release(t, one.Lease)
		for _, in := range []<-chan contract.Result{writer, late} {
			got := contract.Get(t, in)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			contract.Release(t, got.Lease)
		}
		e.NothingLeft(t)
	})
}

// TestDowngradedIsRenewed: the reader's lease lasts, without a gap at the
// server, and ends when it is lost.
func TestDowngradedIsRenewed(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 300 * time.Millisecond
		rw := rwlock.New(e.Client(t, holdfast.WithTTL(ttl)), "shared")
		r, err := rw.Downgrade(t.Context(), contract.Lock(t, rw))
		if err != nil {
			t.Fatal(err)
		}
		first := r.Deadline()
		contract.Eventually(t, "renewals", func() bool {
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			return r.Deadline().After(first.Add(2 * ttl))
		})
		e.Redis.Del(t.Context(), lockKey)
		<-r.Done()
		if lostReason(r.Err()) != holdfast.LostRemoved {
			t.Error(r.Err())
		}
	})
}

// TestDowngradeRefuses: bad input changes nothing; a lease that is over says so;
// a lost one is lost.
func TestDowngradeRefuses(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		c := e.Client(t)
		rw := rwlock.New(c, "shared")
		w := contract.Lock(t, rw)
		m := contract.Lock(t, mutex.New(c, "shared"))
		elsewhere := contract.Lock(t, rwlock.New(c, "elsewhere"))
		reader := contract.Lock(t, rwlock.New(c, "reader").RLocker())
		var none context.Context
		for what, f := range map[string]func() (*holdfast.Lease, error){
			"nil":               func() (*holdfast.Lease, error) { return rw.Downgrade(ctx, nil) },
			"a zero lease":      func() (*holdfast.Lease, error) { return rw.Downgrade(ctx, &holdfast.Lease{}) },
			"a nil context":     func() (*holdfast.Lease, error) { return rw.Downgrade(none, w) },
			"a mutex":           func() (*holdfast.Lease, error) { return rw.Downgrade(ctx, m) },
			"another lock":      func() (*holdfast.Lease, error) { return rw.Downgrade(ctx, elsewhere) },
			"a reader":          func() (*holdfast.Lease, error) { return rwlock.New(c, "reader").Downgrade(ctx, reader) },
			"another client's":  func() (*holdfast.Lease, error) { return rwlock.New(e.Client(t), "shared").Downgrade(ctx, w) },
			"a lock that fails": func() (*holdfast.Lease, error) { return rwlock.New(c, "").Downgrade(ctx, w) },
		} {
			if lease, err := f(); lease != nil || !errors.Is(err, holdfast.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, l := range []*holdfast.Lease{w, m, elsewhere, reader} {
			if err := l.Renew(ctx); err != nil {
				t.Errorf("%s was harmed: %v", l.Name(), err)
			}
			contract.Release(t, l)
		}
		if _, err := rw.Downgrade(ctx, w); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("Downgrade of a released lease: %v", err)
		}
		w = contract.Lock(t, rw)
		e.Redis.Del(ctx, lockKey)
		if _, err := rw.Downgrade(ctx, w); lostReason(err) == "" {
			t.Errorf("Downgrade of a lost lease: %v", err)
		}
		if !errors.Is(w.Err(), holdfast.ErrReleased) {
			t.Errorf("the writer's lease: %v", w.Err())
		}

		ended, cancel := context.WithCancel(ctx)
		w = contract.Lock(t, rw)
		cancel()
		if _, err := rw.Downgrade(ended, w); !errors.Is(err, context.Canceled) {
			t.Errorf("Downgrade with an ended context: %v", err)
		}
		if !errors.Is(w.Err(), holdfast.ErrReleased) {
			t.Errorf("the writer's lease: %v", w.Err())
		}
		contract.Release(t, contract.Lock(t, rw)) // it was released
		e.NothingLeft(t)
	})
}

// TestDowngradeReplyLost: sent again under the same id it finds itself done; a
// late copy of it harms nobody; given up, it releases whichever hold there is.
func TestDowngradeReplyLost(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		p := faultproxy.New(t, e.Addr)
		c, _ := e.ClientAt(t, p.Addr())
		rw, other := rwlock.New(c, "shared"), rwlock.New(e.Client(t), "shared")
		is := faultproxy.IsScript(lua.WeightedDowngrade.Source())
		first, err := rw.Downgrade(ctx, contract.Lock(t, rw)) // loads the script
		if err != nil {
			t.Fatal(err)
		}
		contract.Release(t, first)
		for _, action := range []faultproxy.Action{
			faultproxy.SwallowReplyThenClose, faultproxy.CutBeforeForward,
			faultproxy.ReplyError("LOADING Redis is loading the dataset in memory"),
		} {
			rule := p.Add(faultproxy.First(1, is), action)
			copies := p.Add(is, faultproxy.DuplicateLate)
			r, err := rw.Downgrade(ctx, contract.Lock(t, rw))
			if err != nil || rule.Hits() != 1 {
				t.Fatalf("%d hits: %v", rule.Hits(), err)
			}
			if _, err = other.TryLock(ctx); !errors.Is(err, holdfast.ErrNotAcquired) {
				t.Errorf("a writer beside a reader: %v", err)
			}
			beside, err := other.TryRLock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			contract.Release(t, r)
			if err := copies.SendCopies(ctx); err != nil {
				t.Fatal(err)
			}
			contract.Release(t, beside)
			e.NothingLeft(t)
			rule.Remove()
			copies.Remove()
		}
		for _, action := range []faultproxy.Action{faultproxy.SwallowReplyThenHang, faultproxy.HoldRequest} {
			rule := p.Add(faultproxy.First(1, is), action)
			short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
			w := contract.Lock(t, rw)
			before := time.Now()
			_, err := rw.Downgrade(short, w)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(before) > 2*time.Second {
				t.Errorf("Downgrade that hangs, after %v: %v", time.Since(before), err)
			}
			contract.Release(t, contract.Lock(t, other)) // it was given back, long before its TTL
			rule.Release()                               // overtaken by the release
			rule.Remove()
			for range 20 { // and arrived by now
				contract.Release(t, contract.Lock(t, rw))
			}
			e.NothingLeft(t)
		}
		rule := p.Add(is, faultproxy.ReplyError("NOPERM this user has no permissions"))
		if _, err := rw.Downgrade(ctx, contract.Lock(t, rw)); err == nil || errors.Is(err, holdfast.ErrLost) {
			t.Errorf("Downgrade that Redis refuses: %v", err)
		}
		rule.Remove()
		contract.Release(t, contract.Lock(t, other))
	})
}

// TestDowngradeWithin: the writer's own context is as good as any, in Do too,
// although the downgrade ends it. Its deadline and what it came from still count.
func TestDowngradeWithin(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw, other := rwlock.New(e.Client(t), "shared"), rwlock.New(e.Client(t), "shared")
		err := rw.Do(t.Context(), func(ctx context.Context) error {
			w, _ := holdfast.FromContext(ctx)
			short, cancel := context.WithTimeout(w.Context(ctx), time.Minute)
			defer cancel()
			r, err := rw.Downgrade(short, w)
			if err != nil {
				return err
			}
			beside, err := other.TryRLock(t.Context())
			if err != nil {
				return err
			}
			return errors.Join(r.Err(), r.Release(ctx), beside.Release(ctx))
		})
		if err != nil {
			t.Error(err)
		}
		parent, cancel := context.WithCancel(t.Context())
		w := contract.Lock(t, rw)
		ctx := w.Context(parent)
		cancel()
		if _, err := rw.Downgrade(ctx, w); !errors.Is(err, context.Canceled) || !errors.Is(w.Err(), holdfast.ErrReleased) {
			t.Errorf("with a context that had ended: %v, %v", err, w.Err())
		}
		e.NothingLeft(t)
	})
}

// TestDowngradeBounds: under the writer's own context the call has its values and
// its deadline, ends with what that context was made of, and with nothing that the
// caller shut out.
func TestDowngradeBounds(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		p := faultproxy.New(t, e.Addr)
		c, _ := e.ClientAt(t, p.Addr())
		rw := rwlock.New(c, "shared")
		parent, cancel := context.WithCancel(t.Context())
		w := contract.Lock(t, rw)
		shut := context.WithoutCancel(w.Context(parent))
		cancel()
		r, err := rw.Downgrade(shut, w)
		if err != nil {
			t.Fatalf("the end of a context that was shut out: %v", err)
		}
		contract.Release(t, r)

		p.Add(faultproxy.IsScript(lua.WeightedDowngrade.Source()), faultproxy.ReplyError("LOADING Redis is loading the dataset in memory"))
		for what, end := range map[string]func(*holdfast.Lease) (context.Context, context.CancelFunc){
			"its deadline": func(w *holdfast.Lease) (context.Context, context.CancelFunc) {
				return context.WithTimeout(w.Context(t.Context()), 100*time.Millisecond)
			},
			"its parent's end": func(w *holdfast.Lease) (context.Context, context.CancelFunc) {
				parent, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel)
				return w.Context(parent), cancel
			},
		} {
			w := contract.Lock(t, rw)
			ctx, cancel := end(w)
			before := time.Now()
			_, err := rw.Downgrade(ctx, w)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "LOADING") {
				t.Errorf("%s: %v", what, err)
			}
			if d := time.Since(before); d < 50*time.Millisecond || d > 5*time.Second {
				t.Errorf("%s: after %v", what, d)
			}
		}
		e.NothingLeft(t)
	})
}

// TestDowngradeOfWhatCameBack: the answer must be under the writer's own token.
// Under another, the writer's hold had ended, others may have written, and a late
// copy of its acquire brought it back.
func TestDowngradeOfWhatCameBack(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw := rwlock.New(e.Client(t), "shared")
		w := contract.Lock(t, rw)
		later := redis.Z{Score: -float64(w.Token() + 1000), Member: "token " + w.ID()}
		if err := e.Redis.ZAdd(t.Context(), lockKey, later).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := rw.Downgrade(t.Context(), w); lostReason(err) != holdfast.LostTaken {
			t.Errorf("Downgrade under another token: %v", err)
		}
		e.NothingLeft(t)
	})
}

// TestDowngradeAfterMaxHold: it would be a renewal, which is refused then.
func TestDowngradeAfterMaxHold(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		rw := rwlock.New(e.Client(t), "shared", holdfast.WithMaxHold(time.Nanosecond))
		w := contract.Lock(t, rw)
		if _, err := rw.Downgrade(t.Context(), w); !errors.Is(err, holdfast.ErrInvalid) || w.Err() != nil {
			t.Errorf("Downgrade after WithMaxHold: %v, the writer's lease: %v", err, w.Err())
		}
		contract.Release(t, w)
	})
}

// TestLateAcquireAfterDowngrade: a copy of the writer's first acquire that was
// not answered comes when it is a reader: it must not queue for the writer.
func TestLateAcquireAfterDowngrade(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		p := faultproxy.New(t, e.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), ContextTimeoutEnabled: true, ReadTimeout: 200 * time.Millisecond})
		t.Cleanup(func() { _ = rdb.Close() })
		c, err := holdfast.New(rdb)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
		rw, other := rwlock.New(c, "shared"), rwlock.New(e.Client(t), "shared")
		contract.Release(t, contract.Lock(t, rw)) // loads the script
		late := p.Add(faultproxy.First(1, faultproxy.IsScript(lua.WeightedAcquire.Source())), faultproxy.HoldRequest)
		w := contract.Lock(t, rw) // by a second copy
		r, err := rw.Downgrade(t.Context(), w)
		if err != nil || late.Hits() != 1 {
			t.Fatalf("%v, %d copies held back", err, late.Hits())
		}
		late.Release()
		late.Remove()
		for range 20 { // it has arrived by now
			if err = r.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		beside, err := other.TryRLock(t.Context())
		if err != nil {
			t.Fatalf("a ghost of the writer waits: %v", err)
		}
		contract.Release(t, beside)
		contract.Release(t, r)
		e.NothingLeft(t)
	})
}

// TestCloseAfterDowngrade: the reader's lease is the client's to end.
func TestCloseAfterDowngrade(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		rw := rwlock.New(c, "shared")
		r, err := rw.Downgrade(t.Context(), contract.Lock(t, rw))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(r.Err(), holdfast.ErrReleased) {
			t.Errorf("the reader's lease after Close: %v", r.Err())
		}
		if n := e.Redis.Exists(t.Context(), lockKey).Val(); n != 0 {
			t.Error("Close left the lock held")
		}
	})
}

// TestDowngradeAndClose: whoever is first, nothing is left, and nothing hangs.
func TestDowngradeAndClose(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		for i := range 30 {
			c := e.Client(t)
			rw := rwlock.New(c, "shared")
			w := contract.Lock(t, rw)
			closed := make(chan error, 1)
			go func() {
				if i%3 == 0 {
					_ = w.Release(ctx) // as well
				}
				closed <- c.Close(ctx)
			}()
			r, err := rw.Downgrade(ctx, w)
			if failed := <-closed; failed != nil {
				t.Errorf("Close: %v", failed)
			}
			if err == nil && !errors.Is(r.Err(), holdfast.ErrReleased) {
				t.Errorf("the reader's lease after Close: %v", r.Err())
			}
			if err != nil && !errors.Is(err, holdfast.ErrClosed) && !errors.Is(err, holdfast.ErrReleased) {
				t.Errorf("Downgrade: %v", err)
			}
			e.NothingLeft(t)
		}
	})
}

// TestDowngradeKeepsMinimumHold: it counts from when the writer acquired.
func TestDowngradeKeepsMinimumHold(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const least = 1200 * time.Millisecond
		rw := rwlock.New(e.Client(t), "shared", holdfast.WithMinHold(least))
		w := contract.Lock(t, rw)
		acquired := time.Now()
		contract.Eventually(t, "half of it to pass", func() bool { return time.Since(acquired) > least/2 })
		r, err := rw.Downgrade(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		contract.Release(t, r)
		all, err := e.Redis.ZRangeWithScores(t.Context(), lockKey, -1, -1).Result() // the last is the hold
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		now := e.Redis.Time(t.Context()).Val()
		rest := time.UnixMilli(int64(all[0].Score)).Sub(now)
		if d := time.Since(acquired) + rest; d < least-5*time.Millisecond || rest > least/2 { // from the downgrade: longer
			t.Errorf("the lock stays taken for %v, until %v after it was acquired, minimum hold %v", rest, d, least)
		}
		contract.Release(t, contract.Lock(t, rwlock.New(e.Client(t), "shared")))
	})
}
