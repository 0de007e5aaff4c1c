package lua_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// world is what a lock must be, step by step: who holds it, and who waits.
//
// Nothing in it ends by time: leases, marks and tombstones are longer than a
// run, and end when a step says so.
type world struct {
	*kit
	ears *ears

	holds  []hold // what has ended is kept until a script looks
	other  string // who holds a reentrant lock that Redisson wrote
	closed bool   // nobody else may come in
	ttl    period // of a reentrant lock's hash
	// orphans says that the hash was removed, and its shares may still be there.
	orphans bool
	places  []place
	buried  map[string]bool // ids with a tombstone
	left    map[string]bool // ids that were left without one
	token   int64           // the highest that was given
	forgot  bool            // the last token was lost since the last grant
	ids     int
	all     []claimant
	calls   []sent // each call that was made, to be made again

	// What the step does beside its reply.
	granted []claimant // in order
	nudged  []claimant // told to look again
	changed bool       // who holds
	begun   bool       // an owner holds who did not: those who wait for him are told
	freed   bool       // the last share went, and nobody followed: Redisson's are told
	from    int64      // when it began and ended, in ms
	to      int64
	slow    int64 // the longest step so far
}

type place struct {
	claimant
	alive bool
}

type hold struct {
	claimant
	period
	token int64
	ended bool
	rests bool // released, but kept for its minimum hold
}

type sent struct {
	name string
	c    claimant
	run  func()
}

// period is when a hold ends, in ms: not before from, and by to.
type period struct{ from, to int64 }

// stretch lets it end as the other one, if that is later.
func (p *period) stretch(other period) {
	p.from, p.to = max(p.from, other.from), max(p.to, other.to)
}

func (p *period) covers(ms int64) bool { return ms >= p.from-2 && ms <= p.to+2 }

// properties runs a model on both backends. Between two runs nothing is left.
func properties(t *testing.T, k *kind.Kind, check func(*world), steps func(w *world) map[string]func(*rapid.T)) {
	t.Helper()
	kits(t, k, func(t *testing.T, k *kit) {
		ps := k.rdb.PSubscribe(t.Context(), "*")
		t.Cleanup(func() { _ = ps.Close() })
		if _, err := ps.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		hear := &ears{k.bed, ps}
		key := k.lock // which has the holds
		if k.kind.Owned {
			key = k.shares
		}
		rapid.Check(t, func(rt *rapid.T) {
			k.t = rt
			defer func() { k.t = t }()
			k.do("FLUSHALL")
			_ = hear.messages() // of a run that failed
			w := &world{kit: k, ears: hear, buried: map[string]bool{}, left: map[string]bool{}}
			actions := steps(w)
			actions["replay"] = w.replay
			actions["pump"] = func(*rapid.T) { w.pump() }
			actions["waiter dies"] = w.die
			actions["last token forgotten"] = func(*rapid.T) {
				w.do("DEL", w.last)
				w.forgot = true
			}
			actions["lock removed"] = func(*rapid.T) {
				w.do("DEL", w.lock)
				w.orphans = w.orphans || len(w.holds) > 0
				w.holds, w.other = nil, ""
			}
			actions["hold ends"] = func(rt *rapid.T) { w.expire(rt, key) }
			actions[""] = func(*rapid.T) {
				check(w)
				w.checkQueue()
			}
			rt.Repeat(actions)
			w.drain(key)
		})
	})
}

// one draws an element, or skips the step where there is none.
func one[T any](rt *rapid.T, name string, from []T) T {
	if len(from) == 0 {
		rt.Skip("no " + name)
	}
	return rapid.SampledFrom(from).Draw(rt, name)
}

// known draws one of the latest claimants.
func (w *world) known(rt *rapid.T) claimant {
	return one(rt, "claimant", w.all[max(0, len(w.all)-12):])
}

func (w *world) send(name string, c claimant, run func()) {
	w.calls = append(w.calls, sent{name, c, run})
	run()
}

// replay sends any earlier call again: a copy that was late, or one that the
// client sent once more since the answer was lost.
func (w *world) replay(rt *rapid.T) {
	old := one(rt, "call", w.calls[max(0, len(w.calls)-40):])
	if (old.name == "lock" || old.name == "try") && w.left[old.c.id] && !w.buried[old.c.id] {
		rt.Skip("a client that cannot know whether this is under way leaves a tombstone")
	}
	rt.Logf("again: %s %s", old.name, old.c.id)
	old.run()
}

// answer runs a script and keeps the time that it may have seen.
func (w *world) answer(c *lua.Call) *lua.Call {
	w.t.Helper()
	w.granted, w.nudged, w.changed, w.begun, w.freed = nil, nil, false, false, false
	w.closed = w.full()
	w.from = time.Now().UnixMilli()
	err := c.Do(w.t.Context(), w.rdb)
	w.to = time.Now().UnixMilli()
	w.slow = max(w.slow, w.to-w.from)
	if err != nil {
		w.t.Fatalf("%q: %v", c.Args()[3:], err)
	}
	return c
}

func (w *world) in(ms int) period { return period{from: w.from + int64(ms), to: w.to + int64(ms)} }

// live are the holds that have not ended.
func (w *world) live() []hold {
	return slices.DeleteFunc(slices.Clone(w.holds), func(h hold) bool { return h.ended })
}

func (w *world) used() (used int64) {
	for _, h := range w.live() {
		used += h.weight
	}
	return used
}

// mine is c's hold; nil if there is none.
func (w *world) mine(c claimant) *hold {
	for i := range w.holds {
		if h := &w.holds[i]; h.claimant == c && !h.ended && !h.rests {
			return h
		}
	}
	return nil
}

// joins says that c has the owner who holds.
func (w *world) joins(c claimant) bool {
	live := w.live()
	return w.kind.Owned && len(live) > 0 && live[0].owner == c.owner
}

func (w *world) fits(c claimant) bool {
	if w.kind.Owned {
		return w.other == "" && (len(w.live()) == 0 || w.joins(c))
	}
	return w.used()+c.weight <= c.limit
}

// full says that nobody may come in, whatever he asks for.
func (w *world) full() bool {
	if w.kind.Owned {
		return w.other != "" || len(w.live()) > 0
	}
	return w.used() >= all
}

// taken says that somebody else than c has it.
func (w *world) taken(c claimant) bool {
	if w.kind.Owned {
		return w.other != "" && w.other != c.owner || len(w.live()) > 0 && !w.joins(c)
	}
	return w.used()+c.weight > c.limit
}

func (w *world) admit(c claimant) {
	w.begun = w.begun || w.kind.Owned && len(w.live()) == 0
	w.holds = append(w.holds, hold{claimant: c, period: w.in(c.lease)})
	w.granted = append(w.granted, c)
	w.changed = true
	// One that was let in keeps out all others, unless there is room beside.
	w.closed = !w.kind.Owned && w.full()
}

func (w *world) reap() {
	live := w.live()
	w.changed = w.changed || len(live) < len(w.holds)
	w.holds = live
}

// vacate lets c's hold go, even one that has ended.
func (w *world) vacate(c claimant) (held bool) {
	before := len(w.holds)
	w.holds = slices.DeleteFunc(w.holds, func(h hold) bool { return h.claimant == c && !h.rests })
	w.closed, w.changed = w.full(), true
	return len(w.holds) < before
}

// settled: the hash ends with the last of its shares.
func (w *world) settled() {
	if !w.changed {
		return
	}
	w.ttl = period{}
	for _, h := range w.holds {
		w.ttl.stretch(h.period)
	}
}

// grant admits the head of the queue, whoever it is, for as long as it fits.
func (w *world) grant() (empty bool) {
	for !w.closed {
		if len(w.places) == 0 {
			return true
		}
		head := w.places[0]
		if head.alive {
			if !w.fits(head.claimant) {
				return false
			}
			w.admit(head.claimant)
		}
		w.places = w.places[1:]
	}
	return false
}

func (w *world) place(c claimant) int {
	return slices.IndexFunc(w.places, func(p place) bool { return p.claimant == c })
}

func (w *world) leave(c claimant) {
	w.places = slices.DeleteFunc(w.places, func(p place) bool { return p.claimant == c })
	for i := range w.places { // its sign of life is the id's
		if w.places[i].id == c.id {
			w.places[i].alive = false
		}
	}
}

func (w *world) acquire(c claimant, mode string) {
	w.t.Helper()
	call := w.answer(w.acquireOf(c, mode))
	a, err := call.Acquired()
	if err != nil {
		w.t.Fatal(err)
	}
	want := w.acquired(c, mode)
	if a.Status != want || a.More || a.Muted {
		w.t.Fatalf("%s %s = %+v, want %d\n%s", mode, c.id, a, want, w.dump())
	}
	// The caller's token is in the reply, not in a wake-up.
	w.wakeUps(c, a.Token)
	if h := w.mine(c); want == lua.Yours && h.token != a.Token {
		w.t.Fatalf("%s %s has token %d, want %d", mode, c.id, a.Token, h.token)
	}
	if want != lua.Busy {
		return
	}
	ahead := w.place(c)
	if ahead < 0 {
		ahead = len(w.places)
	}
	if a.Ahead != ahead || a.Places != len(w.places) || a.Token != w.token && !w.forgot {
		w.t.Fatalf("%s %s = %+v, want %d of %d, token %d", mode, c.id, a, ahead, len(w.places), w.token)
	}
	w.blocker(c, a)
}

// acquired is how the world changes by an acquire, and how c stands then.
func (w *world) acquired(c claimant, mode string) lua.Status {
	if h := w.mine(c); h != nil {
		h.stretch(w.in(c.lease))
		w.ttl.stretch(w.in(c.lease))
		return lua.Yours
	}
	defer w.settled()
	w.reap()
	at := w.place(c)
	switch {
	case w.buried[c.id], mode == "poll" && at < 0:
		w.grant()
		return lua.Gone
	case w.joins(c):
		if at >= 0 {
			w.leave(c)
		}
		w.admit(c)
		return lua.Yours
	case mode != "try" && at < 0:
		w.places = append(w.places, place{c, true})
	case mode != "try":
		w.places[at].alive = true
	}
	empty := w.grant()
	if slices.Contains(w.granted, c) {
		return lua.Yours
	}
	if mode == "try" && empty && w.fits(c) {
		w.admit(c)
		return lua.Yours
	}
	return lua.Busy
}

// release ends c.
func (w *world) release(c claimant, grave, rest int, call *lua.Call) {
	w.t.Helper()
	w.answer(call)
	defer w.settled()
	w.left[c.id] = true
	if grave > 0 {
		w.buried[c.id] = true
	}
	held := w.mine(c)
	var head claimant
	if len(w.places) > 0 {
		head = w.places[0].claimant
	}
	w.leave(c)
	if held != nil && rest > 0 {
		held.rests, held.period, w.changed = true, w.in(rest), true
		w.reap()
		if head.id != "" {
			w.nudged = append(w.nudged, head)
		}
		w.replied(call, 1)
		return
	}
	was := len(w.holds) > 0
	if held != nil {
		w.vacate(c)
	}
	want := int64(0)
	if held != nil {
		want = 1
	} else if w.taken(c) {
		want = 2
	}
	w.reap()
	w.grant()
	w.freed = w.kind.Owned && was && len(w.holds) == 0
	if held == nil && head == c && len(w.granted) == 0 && len(w.places) > 0 {
		w.nudged = append(w.nudged, w.places[0].claimant)
	}
	w.replied(call, want)
}
