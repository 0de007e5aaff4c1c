package lua_test

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/internal/kind"
)

// The weighted lock against its model: whoever is first comes in as soon as what
// is used and what he asks for are within his own limit.
func TestWeightedProperties(t *testing.T) {
	properties(t, kind.Semaphore, checkWeighted, func(w *world) map[string]func(*rapid.T) {
		acquire := func(rt *rapid.T, mode string) {
			w.ids++
			id := "c:" + strconv.Itoa(w.ids)
			c := rapid.SampledFrom([]claimant{
				reader(id), writer(id), permits(id, 1, 3), permits(id, 2, 3), permits(id, 3, 3), permits(id, 2, 5), permits(id, 4, 5),
			}).Draw(rt, "claimant")
			c.inbox = "inbox-" + strconv.Itoa(rapid.IntRange(1, 3).Draw(rt, "inbox"))
			c.lease = rapid.SampledFrom([]int{leaseMS, 2 * leaseMS}).Draw(rt, "lease")
			w.all = append(w.all, c)
			w.send(mode, c, func() { w.acquire(c, mode) })
		}
		release := func(rt *rapid.T, grave, rest int) {
			c := w.known(rt)
			if c.weight != all || !rapid.Bool().Draw(rt, "downgraded") {
				w.send("release", c, func() { w.release(c, grave, rest, w.releaseOf(c, grave, rest)) })
				return
			}
			light := c.lighter()
			w.send("release", light, func() {
				// Whether the downgrade was done is what its client does not know.
				under := light
				if w.mine(c) != nil {
					under = c
				}
				w.release(under, grave, rest, w.releaseOf(light, grave, rest, c.request()))
			})
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
			"renew the lighter": func(rt *rapid.T) {
				c := w.known(rt).lighter()
				w.send("renew", c, func() { w.renew(c, 3*leaseMS) })
			},
			"drop": func(rt *rapid.T) {
				c := w.known(rt)
				w.send("drop", c, func() {
					call := w.answer(w.dropOf(c))
					want := int64(0)
					if w.vacate(c) {
						want = 1
					} else if len(w.holds) > 0 {
						want = 2
					}
					w.left[c.id] = true
					w.replied(call, want)
				})
			},
			"downgrade": func(rt *rapid.T) {
				c := w.known(rt)
				for _, h := range w.live() { // seldom the one that was drawn
					if h.weight == all && !h.rests {
						c = h.claimant
					}
				}
				if c.weight != all {
					rt.Skip("no writer")
				}
				w.send("downgrade", c, func() { w.downgrade(c) })
			},
		}
	})
}

// downgrade makes a reader of a writer.
func (w *world) downgrade(c claimant) {
	w.t.Helper()
	call := w.answer(w.downgradeOf(c))
	light := c.lighter()
	want := int64(0)
	if h := w.mine(light); h != nil {
		h.stretch(w.in(c.lease))
		want = h.token
	} else if h := w.mine(c); h != nil {
		h.claimant, h.period = light, w.in(c.lease)
		want = h.token
		w.reap()
		w.closed = w.full()
		w.grant()
	}
	w.replied(call, want)
}

// checkWeighted compares every member of the set of holders.
func checkWeighted(w *world) {
	w.t.Helper()
	got := w.scores(w.lock)
	want := map[string]bool{}
	used, last := int64(0), int64(0)
	for _, h := range w.holds {
		used += h.weight
		want[h.member()] = true
		if end, ok := got[h.member()]; !ok || !h.covers(end) {
			w.t.Fatalf("%s ends at %d, want %v\n%s", h.member(), end, h.period, w.dump())
		}
		if !h.rests {
			want["token "+h.id] = true
			if got["token "+h.id] != -h.token {
				w.t.Fatalf("%s has token %d, want %d", h.id, -got["token "+h.id], h.token)
			}
		}
		if !h.ended {
			last = max(last, h.from)
		}
	}
	if used > 0 {
		want["used"] = true
		if end := w.endOf(w.lock); end.to+2 < last {
			w.t.Fatalf("the key ends at %d, its last hold at %d", end.to, last)
		}
	}
	if -got["used"] != used || len(got) != len(want) {
		w.t.Fatalf("%v, want %d used by %v", got, used, w.holds)
	}
}
