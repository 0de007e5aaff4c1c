package lua_test

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// What Redisson's clients write, and what an owner of ours may be called, too.
const redissons = "uuid:7"

// The reentrant lock against its model: a set of shares of one owner.
func TestReentrantProperties(t *testing.T) {
	properties(t, kind.Reentrant, checkReentrant, func(w *world) map[string]func(*rapid.T) {
		acquire := func(rt *rapid.T, mode string) {
			w.ids++
			c := owned("c:"+strconv.Itoa(w.ids), rapid.SampledFrom([]string{"A", "uuid:8", redissons}).Draw(rt, "owner"))
			c.inbox = "inbox-" + strconv.Itoa(rapid.IntRange(1, 3).Draw(rt, "inbox"))
			c.lease = rapid.SampledFrom([]int{leaseMS, 2 * leaseMS}).Draw(rt, "lease")
			w.all = append(w.all, c)
			w.send(mode, c, func() { w.acquire(c, mode) })
		}
		release := func(rt *rapid.T, grave, rest int) {
			c := w.known(rt)
			w.send("release", c, func() { w.release(c, grave, rest, w.releaseOf(c, grave, rest, redisson)) })
		}
		return map[string]func(*rapid.T){
			"lock":       func(rt *rapid.T) { acquire(rt, "lock") },
			"lock, too":  func(rt *rapid.T) { acquire(rt, "lock") },
			"lock three": func(rt *rapid.T) { acquire(rt, "lock") },
			"try":        func(rt *rapid.T) { acquire(rt, "try") },
			"poll": func(rt *rapid.T) {
				c := w.known(rt)
				w.send("poll", c, func() { w.acquire(c, "poll") })
			},
			"release":      func(rt *rapid.T) { release(rt, 0, 0) },
			"release, too": func(rt *rapid.T) { release(rt, 0, 0) },
			"leave late": func(rt *rapid.T) {
				release(rt, rapid.SampledFrom([]int{graveMS, 3 * graveMS}).Draw(rt, "grave"), 0)
			},
			"rest":      func(rt *rapid.T) { release(rt, 0, leaseMS) },
			"rest late": func(rt *rapid.T) { release(rt, graveMS, leaseMS) },
			"renew": func(rt *rapid.T) {
				c := w.known(rt)
				ms := rapid.SampledFrom([]int{leaseMS / 2, 3 * leaseMS}).Draw(rt, "ms")
				w.send("renew", c, func() { w.renew(c, ms) })
			},
			"drop": func(rt *rapid.T) {
				c := w.known(rt)
				w.send("drop", c, func() { w.dropShare(c) })
			},
			"Redisson takes it": func(rt *rapid.T) {
				if w.exists(w.lock) {
					rt.Skip("held")
				}
				if w.scores(w.shares)["token "+redissons] != 0 {
					// What is left of a hold, for a second, of an owner who says that
					// he is Redisson's: nothing tells him from Redisson's.
					w.do("DEL", w.shares)
				}
				w.do("HSET", w.lock, redissons, 2)
				w.do("PEXPIRE", w.lock, leaseMS)
				w.other = redissons
			},
			"Redisson is done": func(rt *rapid.T) {
				if w.other == "" {
					rt.Skip("not held")
				}
				w.do("DEL", w.lock)
				w.other = ""
			},
		}
	})
}

// checkReentrant compares the hash, its TTL and the shares.
func checkReentrant(w *world) {
	w.t.Helper()
	hash, err := w.rdb.HGetAll(w.t.Context(), w.lock).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	owner, count := w.other, 2
	if len(w.holds) > 0 {
		owner, count = w.holds[0].owner, len(w.holds)
	}
	if owner == "" {
		if len(hash) > 0 {
			w.t.Fatalf("held by %v, want nobody", hash)
		}
		if !w.orphans && w.exists(w.shares) {
			w.t.Fatalf("shares of nothing:\n%s", w.dump())
		}
		return
	}
	if len(hash) != 1 || hash[owner] != strconv.Itoa(count) {
		w.t.Fatalf("held by %v, want %d of %s\n%s", hash, count, owner, w.dump())
	}
	if w.other != "" {
		return
	}
	w.orphans = false
	if last := w.endOf(w.shares); last.to+2 < w.ttl.from+1000 {
		w.t.Fatalf("the shares end at %v, the hash at %v", last, w.ttl)
	}
	got := w.scores(w.shares)
	for _, h := range w.holds {
		if end, ok := got[h.member()]; !ok || !h.covers(end) {
			w.t.Fatalf("%s ends at %d, want %v", h.member(), end, h.period)
		}
		if token := -got["token "+h.owner]; !h.rests && token != h.token {
			w.t.Fatalf("%s has token %d, stored %d", h.id, h.token, token)
		}
	}
	if len(got) != 1+len(w.holds) {
		w.t.Fatalf("shares %v, want %v", got, w.holds)
	}
	end := w.endOf(w.lock)
	if end.to+2 < w.ttl.from || end.from-w.slow-2 > w.ttl.to {
		w.t.Fatalf("the hash ends at %v, its shares at %v", end, w.ttl)
	}
}

// dropShare gives a share back without a look at the queue.
func (w *world) dropShare(c claimant) {
	w.t.Helper()
	call := w.answer(w.dropOf(c))
	w.left[c.id] = true
	want := int64(0)
	switch {
	case w.vacate(c):
		want = 1
	case w.other != "" && w.other != c.owner, len(w.holds) > 0 && w.holds[0].owner != c.owner:
		want = 2
	}
	w.replied(call, want)
}

func TestReentrantShareThatComesAgain(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		a, b := owned("a", "A"), owned("b", "A")
		token := k.takes(a)
		k.ends(k.shares, a)
		if again := k.takes(a); again <= token {
			t.Fatalf("token %d after %d", again, token)
		}
		k.fresh(k.lock, leaseMS)
		token = k.asked(b, "lock").Token
		k.ends(k.shares, a)
		if got := k.asked(a, "lock"); got.Token != token || k.count("A") != "2" {
			t.Fatalf("%+v, want token %d\n%s", got, token, k.dump())
		}
		k.expect(1, k.releaseOf(b, 0, 0))
		if k.count("A") != "1" || k.scores(k.shares)[a.member()] < k.nowMS() {
			t.Fatal(k.dump())
		}
	})
}

// A copy of a drop that comes late, or after a release whose answer was lost,
// must not take the lock from another acquisition of the same owner.
func TestReentrantDropKnowsItsShare(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		outer, inner := owned("outer", "A"), owned("inner", "A")
		k.takes(outer)
		k.asked(inner, "lock")
		k.expect(1, k.releaseOf(inner, 0, 0))
		k.expect(0, k.dropOf(inner))
		k.expect(1, k.renewOf(outer, leaseMS))

		k.asked(inner, "lock")
		k.expect(1, k.dropOf(inner))
		k.expect(0, k.dropOf(inner))
		if k.count("A") != "1" {
			t.Fatal(k.dump())
		}
		k.expect(1, k.dropOf(outer))
		k.expect(0, k.dropOf(outer))
		if k.exists(k.lock) || k.exists(k.shares) {
			t.Fatal(k.dump())
		}
		k.takes(owned("b", "B"))
		k.expect(2, k.dropOf(outer))
	})
}

// An owner's text may hold anything, and one may begin as another does.
func TestReentrantOwnerTexts(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		for i, owner := range []string{"", "a", "a b", "a b c 3 ", "1 a", "\n", "\x00\xff", "ä", "token a", "%s"} {
			id := strconv.Itoa(i)
			a, b, other := owned("a"+id, owner), owned("b"+id, owner), owned("c"+id, owner+"x")
			token := k.takes(a)
			if got := k.asked(b, "try"); got.Token != token || k.count(owner) != "2" {
				t.Fatalf("owner %q: %+v", owner, got)
			}
			if got := k.waits(other); got.Holder != b.holder() && got.Holder != a.holder() || got.Foreign {
				t.Fatalf("owner %q: %+v", owner, got)
			}
			k.expect(1, k.renewOf(a, leaseMS))
			k.expect(2, k.renewOf(other, leaseMS))
			k.expect(2, k.dropOf(other))
			k.expect(1, k.releaseOf(a, 0, 0))
			k.expect(1, k.releaseOf(b, 0, 0))
			if k.count(owner+"x") != "1" {
				t.Fatalf("owner %q:\n%s", owner, k.dump())
			}
			k.expect(1, k.releaseOf(other, 0, 0))
		}
	})
}

// Redisson's holder is joined by nobody, and the shares of a hold that ended
// under it are nothing.
func TestReentrantForeignHolder(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		a, same := owned("a", "A"), owned("same", redissons)
		k.takes(a)
		k.do("DEL", k.lock) // its shares stay for a second more
		k.do("HSET", k.lock, redissons, 2)
		k.do("PEXPIRE", k.lock, leaseMS)
		for _, c := range []claimant{owned("a2", "A"), same} {
			if got := k.waits(c); !got.Foreign || got.Endless || got.Holder != "" {
				t.Fatalf("%+v", got)
			}
		}
		k.polls(lua.Busy, owned("a2", "A"), same)
		k.expect(2, k.renewOf(a, leaseMS))
		k.expect(0, k.renewOf(same, leaseMS))
		k.expect(2, k.dropOf(a))
		k.expect(0, k.dropOf(same))
		k.expect(2, k.releaseOf(a, 0, 0, redisson))
		k.expect(0, k.pumpOf())
		if k.count(redissons) != "2" || k.count("A") != "" {
			t.Fatal(k.dump())
		}
		k.do("DEL", k.lock)
		k.polls(lua.Yours, owned("a2", "A"))
		if k.scores(k.shares)[a.member()] != 0 {
			t.Fatal("the shares of the hold that ended have come back")
		}
	})
}

// Redisson's clients are told once the lock is free, and only then.
func TestReentrantTellsRedisson(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		ps := k.rdb.PSubscribe(t.Context(), "*")
		t.Cleanup(func() { _ = ps.Close() })
		if _, err := ps.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		hear := &ears{k.bed, ps}
		want := func(messages ...message) {
			t.Helper()
			if got := hear.messages(); !slices.Equal(got, messages) {
				t.Fatalf("%q, want %q", got, messages)
			}
		}
		a, again, b := owned("a", "A"), owned("again", "A"), owned("b", "B")
		k.takes(a)
		k.asked(again, "lock")
		k.expect(1, k.releaseOf(again, 0, 0, redisson))
		want()
		k.waits(b)
		k.expect(2, k.releaseOf(b, 0, 0, redisson))
		want()
		k.expect(1, k.releaseOf(a, 0, 0, redisson))
		want(message{redisson, "0"})
		k.expect(0, k.releaseOf(a, 0, 0, redisson))
		want()
		k.takes(a)
		k.expect(1, k.releaseOf(a, 0, 0, "")) // to a lock whose name Redisson does not share
		want()
		k.takes(a)
		k.waits(b)
		k.expect(1, k.releaseOf(a, 0, 0, redisson))
		if got := hear.messages(); len(got) != 1 || got[0].channel != b.inbox {
			t.Fatalf("%q", got)
		}
		k.expect(1, k.releaseOf(b, 0, leaseMS, redisson))
		want() // it rests
	})
}

// Waiters of one owner who are next to each other come in together.
func TestReentrantOwnersInLine(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		a := owned("a", "A")
		line := []claimant{owned("b1", "B"), owned("b2", "B"), owned("c", "C"), owned("b3", "B")}
		for i := range line {
			line[i].inbox = "inbox"
		}
		k.takes(a)
		k.waits(line...)
		k.expect(1, k.releaseOf(a, 0, 0))
		k.inLine("c", "b3")
		if k.count("B") != "2" {
			t.Fatal(k.dump())
		}
		k.polls(lua.Yours, line[3]) // joins past the queue, and has no place any more
		k.inLine("c")
		for i, c := range []claimant{line[1], line[0], line[3]} { // in any order
			if got := k.count("B"); got != strconv.Itoa(3-i) {
				t.Fatalf("count %s", got)
			}
			k.expect(1, k.releaseOf(c, 0, 0))
		}
		if k.count("C") != "1" || k.exists(k.queue) {
			t.Fatal(k.dump())
		}
	})
}

// A thousand waiters of one owner: a bounded number in each script.
func TestReentrantManyOfOneOwner(t *testing.T) {
	kits(t, kind.Reentrant, func(t *testing.T, k *kit) {
		waiters := 1000
		if k.embedded {
			waiters = 300
		}
		k.takes(owned("a", "A"))
		for i := range waiters {
			c := owned("b"+strconv.Itoa(i), "B")
			c.inbox = "inbox"
			k.waits(c)
		}
		k.expect(1+4, k.releaseOf(owned("a", "A"), 0, 0))
		if got := k.count("B"); got != strconv.Itoa(bound) {
			t.Fatalf("%s came in", got)
		}
		// The rest joins at its polls, or is granted once the others are gone.
		for i := range waiters {
			c := owned("b"+strconv.Itoa(i), "B")
			c.inbox = "inbox"
			k.polls(lua.Yours, c)
		}
		if got := k.count("B"); got != strconv.Itoa(waiters) || k.exists(k.queue) {
			t.Fatalf("%s came in", got)
		}
	})
}
