package lua_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// A late copy of an acquire whose hold has ended takes room again, for nobody
// perhaps, but as a hold that ends: else its weight stays used for as long as
// others come and go.
func TestWeightedHoldThatComesAgain(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		a, b := permits("a", 2, 3), permits("b", 1, 3)
		k.takes(a, b)
		k.ends(k.lock, a)
		k.takes(a)
		if k.scores(k.lock)[a.member()] < k.nowMS() || k.weight() != 3 {
			t.Fatal(k.dump())
		}
		k.expect(1, k.releaseOf(a, 0, 0))
		k.expect(1, k.releaseOf(b, 0, 0))
		if k.exists(k.lock) {
			t.Fatal(k.dump())
		}

		w := writer("w") // a late copy waits beside the reader that it became
		token := k.takes(w)
		k.lightens(token, w)
		k.waits(w)
		k.ends(k.lock, w.lighter())
		k.polls(lua.Yours, w)
		if k.weight() != all || k.scores(k.lock)["token w"] >= -token {
			t.Fatal(k.dump())
		}
	})
}

// The token is forgotten while only a minimum hold is left, whose weight is
// written in exponents by some.
func TestWeightedTokenForgotten(t *testing.T) {
	kits(t, kind.RWLock, func(t *testing.T, k *kit) {
		w := writer("w")
		k.takes(w)
		k.expect(1, k.releaseOf(w, 0, leaseMS))
		k.do("DEL", k.last)
		if a := k.waits(writer("x")); a.Holder != w.holder() || a.Foreign {
			t.Fatalf("%+v", a)
		}

		// A hold that was renewed for longer than ten minutes still has its own.
		k.do("DEL", k.lock, k.queue)
		r := reader("r")
		token := k.takes(r)
		ahead := token + int64(time.Hour/time.Microsecond) // the clock went back since
		k.do("ZADD", k.lock, -ahead, "token r")
		k.do("DEL", k.last)
		if got := k.takes(reader("s")); got != ahead+1 {
			t.Fatalf("token %d, want %d", got, ahead+1)
		}
	})
}

// One release lets a thousand readers in, a bounded number in each script.
func TestWeightedReadersComeInTogether(t *testing.T) {
	kits(t, kind.RWLock, func(t *testing.T, k *kit) {
		const readers = 1000
		w := writer("w")
		k.takes(w)
		for i := range readers {
			r := reader("r" + strconv.Itoa(i))
			r.inbox = "inbox-" + strconv.Itoa(i%3)
			k.waits(r)
		}
		hear := k.listen("0", "1", "2")
		next, token := 0, int64(0)
		tokens := map[string]int64{}
		arrived := func(more bool) {
			t.Helper()
			heard := hear.messages()
			if len(heard) != 3 {
				t.Fatalf("%d messages to three inboxes", len(heard))
			}
			for i, m := range heard {
				for wake := range lua.WakeUps(m.text) {
					tokens[wake.ID] = wake.Token
					if wake.More && (i < 2 || !more) {
						t.Fatalf("%q says more", wake.ID)
					}
				}
			}
			if last := heard[2].text; (last[len(last)-1] == '1') != more {
				t.Fatalf("the last wake-up ends in %q, want more %t", last[len(last)-3:], more)
			}
			from := next
			for ; tokens["r"+strconv.Itoa(next)] > 0; next++ {
				if got := tokens["r"+strconv.Itoa(next)]; got <= token {
					t.Fatalf("token %d after %d", got, token)
				} else {
					token = got
				}
			}
			if next-from > bound || next-from < bound && more || k.weight() != int64(next) || next != len(tokens) {
				t.Fatalf("%d more of %d came in, %d used", next-from, len(tokens), k.weight())
			}
		}
		k.expect(1+4, k.releaseOf(w, 0, 0))
		arrived(true)
		scripts := 1
		for ; next+bound < readers; scripts++ {
			k.expect(4, k.pumpOf())
			arrived(true)
		}
		k.expect(0, k.pumpOf())
		arrived(false)
		if next != readers || k.exists(k.queue) {
			t.Fatalf("%d of %d came in", next, readers)
		}
		t.Logf("%d scripts", scripts+1)
	})
}

// Ten thousand permits that ended give their room back in bounded steps.
func TestWeightedReapsInSteps(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		ended := 10000
		if k.embedded {
			ended = 2000 // enough steps there
		}
		const limit = 20000
		for from := 0; from < ended; from += 1000 {
			add := []any{"ZADD", k.lock}
			for i := range 1000 {
				c := permits("c"+strconv.Itoa(from+i), 2, limit)
				add = append(add, k.nowMS()-1, c.member(), -1000000-from-i, "token "+c.id)
			}
			k.do(add...)
		}
		k.do("ZADD", k.lock, -2*ended, "used")
		k.do("PEXPIRE", k.lock, leaseMS)
		whole := permits("whole", limit, limit)
		var longest time.Duration
		steps := 0
		for used := int64(2 * ended); ; {
			var a lua.Acquired
			longest = max(longest, timed(func() { a = k.asked(whole, "lock") }))
			steps++
			if a.Status == lua.Yours {
				break
			}
			if a = k.asked(whole, "try"); a.Status == lua.Yours { // has a place, so it may
				steps++
				break
			}
			steps++
			if now := k.weight(); now != used-4*bound || a.Ahead != 0 {
				t.Fatalf("%d used after %d; %+v", now, used, a)
			} else {
				used = now
			}
		}
		if want := (ended + bound - 1) / bound; steps != want {
			t.Fatalf("%d scripts, want %d", steps, want)
		}
		if got := k.scores(k.lock); len(got) != 3 || k.weight() != limit {
			t.Fatalf("left: %v", got)
		}
		t.Logf("%d scripts, the longest call took %v", steps, longest)
	})
}

// What is ended beyond the bound is more to do, which pump is called for.
func TestWeightedPumpReaps(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		var ended []claimant
		for i := range bound + 1 {
			ended = append(ended, permits("c"+strconv.Itoa(i), 1, all))
		}
		k.takes(ended...)
		for _, c := range ended {
			k.ends(k.lock, c)
		}
		k.expect(4, k.pumpOf())
		k.expect(0, k.pumpOf())
		if k.exists(k.lock) {
			t.Fatal(k.dump())
		}
	})
}

// Each is judged by its own limit, the head alone.
func TestWeightedLimitsThatDiffer(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		small, large := permits("small", 2, 2), permits("large", 3, 5)
		k.takes(small, large)
		if k.weight() != 5 {
			t.Fatalf("%d used", k.weight())
		}
		one := permits("one", 1, 2)
		k.waits(one, permits("wide", 1, 9))
		k.inLine("one", "wide") // nobody barges, though the second would fit
		if a := k.asked(permits("try", 1, 9), "try"); !a.Free || a.Holder != "" || a.Remaining != 0 || a.Ahead != 2 {
			t.Fatalf("only the queue is in the way: %+v", a)
		}
		hear := k.listen("one", "wide")
		k.expect(1, k.releaseOf(small, 0, 0))
		k.inLine("one", "wide")
		hear.want()
		k.expect(1, k.releaseOf(large, 0, 0))
		if heard := hear.heard(); len(heard) != 2 || heard[0].ID != "one" || heard[1].Token <= heard[0].Token {
			t.Fatalf("wake-ups %+v", heard)
		}
		k.expect(0, k.releaseOf(large, 0, 0)) // there is room for it beside them
		if k.weight() != 2 || k.exists(k.queue) {
			t.Fatal(k.dump())
		}
	})
}

// The blocker is the hold that ends first, and the lock outlives the last.
func TestWeightedBusyReply(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		short, long := permits("short", 1, 2), permits("long", 1, 2)
		long.lease *= 2
		k.takes(long, short)
		k.fresh(k.lock, long.lease)
		a := k.waits(permits("c", 1, 2))
		if a.Holder != short.holder() || a.Remaining > leaseMS*time.Millisecond || a.Remaining < 20*time.Second || a.Places != 1 {
			t.Fatalf("%+v", a)
		}
		k.expect(1, k.renewOf(short, 4*leaseMS))
		k.fresh(k.lock, 4*leaseMS)
		if a := k.asked(permits("c", 1, 2), "poll"); a.Holder != long.holder() {
			t.Fatalf("%+v", a)
		}
		k.expect(1, k.renewOf(short, 10)) // never shorter
		k.fresh(k.lock, 4*leaseMS)
	})
}

// lightens downgrades c and wants that answer.
func (k *kit) lightens(want int64, c claimant) {
	k.t.Helper()
	call := k.downgradeOf(c)
	_ = call.Do(k.t.Context(), k.rdb) // the error is in the call
	if got, err := call.Int64(); err != nil || got != want {
		k.t.Fatalf("downgrade %s = %d, %v; want %d", c.id, got, err, want)
	}
}

// A writer becomes a reader in one step, and those readers come in who wait next.
func TestWeightedDowngrade(t *testing.T) {
	kits(t, kind.RWLock, func(t *testing.T, k *kit) {
		w, next := writer("w"), writer("next")
		token := k.takes(w)
		k.waits(reader("a"), reader("b"), next, reader("c"))
		hear := k.listen("a", "b", "next", "c")
		k.lightens(token, w)
		if heard := hear.heard(); len(heard) != 2 || heard[0].ID != "a" || heard[0].Token <= token || heard[1].ID != "b" {
			t.Fatalf("wake-ups %+v", heard)
		}
		k.lightens(token, w) // a copy of it
		hear.want()
		k.inLine("next", "c")
		k.expect(2, k.renewOf(w, leaseMS)) // it is another hold now
		k.expect(1, k.renewOf(w.lighter(), leaseMS))
		k.expect(2, k.releaseOf(w, 0, 0))
		k.expect(1, k.releaseOf(w.lighter(), 0, 0, w.request()))
		k.lightens(0, w)
		if k.weight() != 2 {
			t.Fatal(k.dump())
		}
		k.expect(1, k.releaseOf(reader("a"), 0, 0))
		k.expect(1, k.releaseOf(reader("b"), 0, 0))
		// Whether a downgrade was done is not known where its answer was lost.
		k.expect(1, k.releaseOf(next.lighter(), 0, 0, next.request()))
		k.polls(lua.Yours, reader("c"))
	})
}

// Polls of one lock that are due together go as one command, and each gets the
// answer that it would have had by itself.
func TestWeightedPollsAreOne(t *testing.T) {
	kits(t, kind.Semaphore, func(t *testing.T, k *kit) {
		holder := permits("holder", 2, 2)
		k.takes(holder)
		var waiters []claimant
		for i := range 300 {
			c := permits("w"+strconv.Itoa(i), 1, 2)
			k.waits(c)
			waiters = append(waiters, c)
		}
		buried, never := waiters[5], permits("never", 1, 2)
		k.expect(2, k.releaseOf(buried, graveMS, 0))
		k.expect(1, k.releaseOf(holder, 0, 0)) // grants w0 and w1
		k.do("ZADD", k.queue, -1, "live w2")   // would be passed over as dead
		k.do("PEXPIRE", k.lock, 5000)
		ask := append([]claimant{never}, waiters...)
		var calls []*lua.Call
		for _, c := range ask {
			calls = append(calls, k.acquireOf(c, "poll"))
		}
		plain := k.renewOf(never, leaseMS) // goes beside them
		lua.DoAll(t.Context(), k.rdb, append(calls, plain))
		if n, err := plain.Int64(); err != nil || n != 0 {
			t.Fatalf("the renewal beside them: %d, %v", n, err)
		}
		k.fresh(k.lock, leaseMS) // those that were granted count from now
		ahead := 0
		for i, c := range ask {
			a, err := calls[i].Acquired()
			if err != nil {
				t.Fatal(err)
			}
			switch c.id {
			case "never", buried.id:
				if a != (lua.Acquired{Status: lua.Gone}) {
					t.Fatalf("%s: %+v", c.id, a)
				}
			case "w0", "w1":
				if a.Status != lua.Yours || a.Token != k.asked(c, "poll").Token {
					t.Fatalf("%s: %+v", c.id, a)
				}
			default:
				if a.Status != lua.Busy || a.Ahead != ahead || a.Places != 297 || a.Holder == "" || a.Remaining <= 0 {
					t.Fatalf("%s: %+v, want %d of 297", c.id, a, ahead)
				}
				if alive := k.mark("live " + c.id); alive < k.nowMS() {
					t.Fatalf("%s does not count as alive", c.id)
				}
				ahead++
			}
		}

		// Room that nobody saw is granted by them, and told in the same answer.
		k.do("DEL", k.lock)
		calls = []*lua.Call{k.acquireOf(waiters[2], "poll"), k.acquireOf(waiters[3], "poll"), k.acquireOf(waiters[4], "poll")}
		lua.DoAll(t.Context(), k.rdb, calls)
		for i, want := range []lua.Status{lua.Yours, lua.Yours, lua.Busy} {
			if a, err := calls[i].Acquired(); err != nil || a.Status != want {
				t.Fatalf("poll %d: %+v, %v", i, a, err)
			}
		}

		// An error is each one's.
		k.do("DEL", k.queue)
		k.do("RPUSH", k.queue, "x")
		calls = []*lua.Call{k.acquireOf(waiters[7], "poll"), k.acquireOf(waiters[8], "poll")}
		lua.DoAll(t.Context(), k.rdb, calls)
		for _, c := range calls {
			if _, err := c.Acquired(); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
				t.Fatalf("a poll of a queue that is a list: %v", err)
			}
		}
	})
}
