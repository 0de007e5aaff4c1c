package reentrant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/reentrant"
)

const lockKey = "holdfast:reentrant:share"

func lostReason(err error) holdfast.LostReason {
	var lost *holdfast.LostError
	if !errors.As(err, &lost) {
		return ""
	}
	return lost.Reason
}

// TestInnerNeverShortens: an inner lease with a shorter TTL, or without renewal,
// changes nothing for the outer one, neither while it is held nor afterwards.
func TestInnerNeverShortens(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 900 * time.Millisecond
		c := e.Client(t)
		outer := lock(t, t.Context(), reentrant.New(c, "share", holdfast.WithTTL(ttl)))
		ctx := outer.Context(t.Context())
		left := func() time.Duration { return e.Redis.PTTL(ctx, lockKey).Val() }

		short := lock(t, ctx, reentrant.New(c, "share", holdfast.WithTTL(50*time.Millisecond), holdfast.WithoutRenewal()))
		if d := left(); d < ttl/2 {
			t.Errorf("a shorter re-entry left %v", d)
		}
		long := lock(t, ctx, reentrant.New(c, "share", holdfast.WithTTL(time.Minute)))
		if d := left(); d < 50*time.Second {
			t.Errorf("a longer re-entry left %v", d)
		}
		contract.Release(t, long)
		if d := left(); d > ttl {
			t.Errorf("%v left after the longer lease was released, whose own was the longest", d)
		}
		<-short.Done()
		if lostReason(short.Err()) != holdfast.LostExpired {
			t.Error(short.Err())
		}
		first := outer.Deadline()
		contract.Eventually(t, "renewals of the outer lease", func() bool {
			if err := outer.Err(); err != nil {
				t.Fatal(err)
			}
			return outer.Deadline().After(first.Add(2 * ttl))
		})
		if n := count(t, e, "share"); n != "1" {
			t.Errorf("count %s after the inner lease expired", n)
		}
		contract.Release(t, outer)
		e.NothingLeft(t)
	})
}

// TestShareEndsByItself: of two processes of one owner, the one that no longer
// renews is counted out at its TTL, although the other renews; the lock is free
// when the other releases.
func TestShareEndsByItself(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 600 * time.Millisecond
		ctx := reentrant.WithOwner(t.Context(), "both")
		p := faultproxy.New(t, e.Addr)
		dying, _ := e.ClientAt(t, p.Addr(), holdfast.WithTTL(ttl))
		gone := lock(t, ctx, reentrant.New(dying, "share"))
		live := lock(t, ctx, reentrant.New(e.Client(t, holdfast.WithTTL(ttl)), "share"))
		if n := count(t, e, "share"); n != "2" {
			t.Fatalf("count %s", n)
		}
		p.Blackhole(true, true)
		contract.Eventually(t, "the dead share to be counted out", func() bool {
			if err := live.Err(); err != nil {
				t.Fatal(err)
			}
			return count(t, e, "share") == "1"
		})
		if lostReason(gone.Err()) == "" {
			t.Errorf("the share was counted out before its holder knew: %v", gone.Err())
		}
		contract.Release(t, live)
		if n := e.Redis.Exists(t.Context(), lockKey).Val(); n != 0 {
			t.Error("the dead share keeps the lock")
		}
		p.CutAll()
		p.Heal()
	})
}

// TestInnerAfterOuterWasLost: each lease ends by itself; what is released late
// harms nobody.
func TestInnerAfterOuterWasLost(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		m := reentrant.New(c, "share")
		// The outer one expires, the inner one is held on.
		outer := lock(t, t.Context(), reentrant.New(c, "share", holdfast.WithTTL(100*time.Millisecond), holdfast.WithoutRenewal()))
		inner := lock(t, outer.Context(t.Context()), m)
		<-outer.Done()
		refuses(t, t.Context(), m)
		if err := inner.Renew(t.Context()); err != nil {
			t.Errorf("the inner lease: %v", err)
		}
		contract.Release(t, inner)

		// The lock is removed under both, and another owner takes it.
		outer = lock(t, t.Context(), m)
		inner = lock(t, outer.Context(t.Context()), m)
		e.Redis.Del(t.Context(), lockKey)
		other := lock(t, t.Context(), m)
		if err := outer.Renew(t.Context()); lostReason(err) != holdfast.LostTaken {
			t.Errorf("Renew of the outer: %v", err)
		}
		if err := inner.Release(t.Context()); lostReason(err) != holdfast.LostTaken {
			t.Errorf("Release of the inner: %v", err)
		}
		if err := other.Renew(t.Context()); err != nil || count(t, e, "share") != "1" {
			t.Errorf("the next owner was harmed: %v", err)
		}
		contract.Release(t, other)

		// The same owner takes it anew: shares of before do not count.
		named := reentrant.WithOwner(t.Context(), "named")
		before := lock(t, named, m)
		e.Redis.Del(t.Context(), lockKey)
		after := lock(t, named, m)
		if n := count(t, e, "share"); n != "1" {
			t.Errorf("count %s", n)
		}
		if err := before.Renew(t.Context()); lostReason(err) != holdfast.LostRemoved {
			t.Errorf("Renew of a share from before: %v", err)
		}
		contract.Release(t, after)
		e.NothingLeft(t)
	})
}

func isFirst(s *lua.Script) faultproxy.Matcher {
	return faultproxy.All(faultproxy.IsScript(s.Source()), faultproxy.Not(faultproxy.HasArg("poll")))
}

// TestReplyLostOnReentry: the re-entry was done and not answered. Asked again
// under the same id, or given up, it counts once, or not at all.
func TestReplyLostOnReentry(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		p := faultproxy.New(t, e.Addr)
		c, _ := e.ClientAt(t, p.Addr())
		m := reentrant.New(c, "share")
		contract.Release(t, lock(t, t.Context(), m)) // loads the scripts
		outer := lock(t, t.Context(), m)
		ctx := outer.Context(t.Context())
		for _, enter := range []func(context.Context) (*holdfast.Lease, error){m.Lock, m.TryLock} {
			rule := p.Add(faultproxy.First(1, isFirst(lua.ReentrantAcquire)), faultproxy.SwallowReplyThenClose)
			inner, err := enter(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if rule.Hits() != 1 || count(t, e, "share") != "2" {
				t.Errorf("%d replies lost, count %s", rule.Hits(), count(t, e, "share"))
			}
			rule.Remove()
			contract.Release(t, inner)
			if n := count(t, e, "share"); n != "1" {
				t.Errorf("count %s after the release of the inner", n)
			}

			rule = p.Add(faultproxy.First(1, isFirst(lua.ReentrantAcquire)), faultproxy.HoldRequest)
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			if _, err := enter(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a re-entry that hangs: %v", err)
			}
			cancel()
			contract.Eventually(t, "the leave", func() bool {
				n, _ := e.Redis.Keys(t.Context(), "holdfast:q:*").Result()
				return len(n) == 1 // its tombstone
			})
			rule.Release() // overtaken by its leave
			rule.Remove()
			for range 20 { // and arrived by now
				contract.Release(t, lock(t, ctx, m))
			}
			if n := count(t, e, "share"); n != "1" {
				t.Errorf("count %s: a ghost", n)
			}
		}
		contract.Release(t, outer)
		e.NothingLeft(t)
	})
}

// TestLateCopies: releases, renewals and re-entries whose reply was lost come a
// second time, at the worst moment. No count moves.
func TestLateCopies(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		p := faultproxy.New(t, e.Addr)
		c, _ := e.ClientAt(t, p.Addr())
		m := reentrant.New(c, "share")
		outer := lock(t, t.Context(), m)
		ctx := outer.Context(t.Context())
		rules := []*faultproxy.Rule{
			p.Add(faultproxy.IsScript(lua.ReentrantRelease.Source()), faultproxy.DuplicateLate),
			p.Add(faultproxy.IsScript(lua.ReentrantRenew.Source()), faultproxy.DuplicateLate),
		}
		entered := p.Add(isFirst(lua.ReentrantAcquire), faultproxy.DuplicateLate)
		held := lock(t, ctx, m)
		if err := held.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := entered.SendCopies(t.Context()); err != nil { // while it is held
			t.Fatal(err)
		}
		entered.Remove()
		gone := lock(t, ctx, m)
		contract.Release(t, gone)
		for _, r := range rules {
			if err := r.SendCopies(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, e, "share"); n != "2" {
			t.Errorf("count %s", n)
		}
		contract.Release(t, outer)
		contract.Release(t, held)
		other := lock(t, t.Context(), reentrant.New(e.Client(t), "share"))
		for _, r := range rules {
			if err := r.SendCopies(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.Renew(t.Context()); err != nil || count(t, e, "share") != "1" {
			t.Errorf("late copies harmed the next owner: %v, count %s", err, count(t, e, "share"))
		}
		contract.Release(t, other)
	})
}
