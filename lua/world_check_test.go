package lua_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/lua"
)

// Steps of a world that take nobody in from outside, and what it compares.

// renew stretches what c holds.
func (w *world) renew(c claimant, ms int) {
	w.t.Helper()
	call := w.answer(w.renewOf(c, ms))
	h := w.mine(c)
	want := int64(0)
	switch {
	case h != nil:
		want = 1
		h.stretch(w.in(ms))
		w.ttl.stretch(w.in(ms))
		if w.kind.Owned { // the dead of the same owner are counted out
			w.reap()
		}
	case w.kind.Owned && w.other == "" && (len(w.holds) == 0 || w.holds[0].owner == c.owner):
	case w.kind.Owned && w.other == c.owner:
	case w.kind.Owned && (w.other != "" || len(w.holds) > 0): // or has ended, and nobody looked
		want = 2
	case !w.kind.Owned && w.excludes(c):
		want = 2
	}
	w.replied(call, want)
}

// excludes says that the hold that ends first leaves no room for c beside it: a
// renewal looks no further.
func (w *world) excludes(c claimant) bool {
	live := w.live()
	if len(live) == 0 {
		return false
	}
	scores := w.scores(w.lock)
	first := slices.MinFunc(live, func(a, b hold) int {
		return cmp.Or(cmp.Compare(scores[a.member()], scores[b.member()]), strings.Compare(a.member(), b.member()))
	})
	return first.weight+c.weight > c.limit
}

func (w *world) pump() {
	w.t.Helper()
	call := w.answer(w.pumpOf())
	w.reap()
	w.grant()
	w.settled()
	w.replied(call, 0)
}

// die lets a waiter's sign of life end.
func (w *world) die(rt *rapid.T) {
	if len(w.places) == 0 {
		rt.Skip("nobody waits")
	}
	i := rapid.IntRange(0, len(w.places)-1).Draw(rt, "place")
	w.do("ZADD", w.queue, -1, "live "+w.places[i].id)
	w.places[i].alive = false
}

// blocker wants the reply to name the holder that keeps c out.
func (w *world) blocker(c claimant, a lua.Acquired) {
	w.t.Helper()
	live := w.live()
	free := w.fits(c) || w.other == "" && len(live) == 0
	if w.kind.Owned {
		free = w.other == "" && len(live) == 0
	}
	if a.Free != free || a.Foreign != (w.other != "") {
		w.t.Fatalf("%s: %+v, want free %t, other %q", c.id, a, free, w.other)
	}
	if free || a.Foreign {
		return
	}
	ends := slices.IndexFunc(live, func(h hold) bool { return h.holder() == a.Holder })
	if ends < 0 {
		w.t.Fatalf("%s: %+v, held by %v", c.id, a, live)
	}
	named := live[ends]
	for _, h := range live {
		if !w.kind.Owned && h.to < named.from || w.kind.Owned && h.from > named.to {
			w.t.Fatalf("%s: %+v, but %s counts", c.id, a, h.id)
		}
	}
	left := a.Remaining.Milliseconds()
	if !w.kind.Owned && (left < named.from-w.to-2 || left > named.to-w.from+2) {
		w.t.Fatalf("%s: %+v, held until %v at %d", c.id, a, named.period, w.from)
	}
}

func (w *world) replied(call *lua.Call, want int64) {
	w.t.Helper()
	if got, err := call.Int64(); err != nil || got != want {
		w.t.Fatalf("%q = %v, %v; want %d\n%s", call.Args()[3:], got, err, want, w.dump())
	}
	w.wakeUps(claimant{}, 0)
}

// wakeUps wants each that was granted to be told so once, in its inbox, in one
// message for all that wait there; but for the caller, who is told by the reply.
// It learns the tokens from them.
func (w *world) wakeUps(caller claimant, reply int64) {
	w.t.Helper()
	heard := w.ears.messages()
	told := map[string]int64{}
	for _, m := range heard {
		for wake := range lua.WakeUps(m.text) {
			told[wake.ID] = wake.Token
		}
	}
	var want []message
	lines := map[string]int{} // where an inbox's message is
	add := func(inbox, line string) {
		if i, ok := lines[inbox]; ok {
			want[i].text += "\n" + line
			return
		}
		lines[inbox] = len(want)
		want = append(want, message{inbox, line})
	}
	for _, c := range w.granted {
		token := told[c.id]
		if c == caller {
			token = reply
		}
		w.given(c, token)
		if c == caller {
			continue
		}
		add(c.inbox, c.id+" "+strconv.FormatInt(token, 10)+" 0")
	}
	for _, p := range w.places[:min(8, len(w.places))] {
		if w.begun && w.joins(p.claimant) {
			add(p.inbox, p.id+" 0 0")
		}
	}
	if w.freed {
		want = append(want, message{redisson, "0"})
	}
	for _, c := range w.nudged {
		want = append(want, message{c.inbox, c.id + " 0 0"})
	}
	if !slices.Equal(heard, want) {
		w.t.Fatalf("messages %q, want %q", heard, want)
	}
}

// given wants the token of c's new hold to be that of the owner's other shares,
// or greater than any before.
func (w *world) given(c claimant, token int64) {
	w.t.Helper()
	h := w.mine(c)
	h.token = token
	for _, share := range w.live() {
		if w.kind.Owned && share.claimant != c && share.token != 0 {
			if share.token != token {
				w.t.Fatalf("%s has token %d, and %s has %d", c.id, token, share.id, share.token)
			}
			return
		}
	}
	if token <= w.token {
		w.t.Fatalf("%s has token %d after %d", c.id, token, w.token)
	}
	w.token, w.forgot = token, false
}

// checkQueue compares the places and the tombstones, and what there is at all.
func (w *world) checkQueue() {
	w.t.Helper()
	var places []string
	buried := 0
	ends := w.endOf(w.queue)
	for _, z := range w.members() {
		member := fmt.Sprint(z.Member)
		if z.Score > 0 {
			places = append(places, member)
			continue
		}
		if id, ok := strings.CutPrefix(member, "gone "); ok {
			if buried++; !w.buried[id] {
				w.t.Fatalf("a tombstone of %q", id)
			}
		}
		if int64(-z.Score) > ends.to+2 {
			w.t.Fatalf("%s counts until %d, the queue ends at %d", member, int64(-z.Score), ends.to)
		}
	}
	var want []string
	for _, p := range w.places {
		want = append(want, p.member())
	}
	if !slices.Equal(places, want) || buried != len(w.buried) {
		w.t.Fatalf("places %q, want %q; tombstones of %v\n%s", places, want, w.buried, w.dump())
	}
	if got := w.get(w.last); got != strconv.FormatInt(w.token, 10) && !w.forgot && w.token > 0 {
		w.t.Fatalf("last token %s, want %d", got, w.token)
	}
	names, err := w.rdb.Keys(w.t.Context(), "*").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(w.keys, any(name)) || w.pttl(name) == -1 {
			w.t.Fatalf("%q has no end, or nobody declared it", name)
		}
	}
}

// endOf is when a key ends, as closely as one can see it.
func (w *world) endOf(key string) period {
	w.t.Helper()
	from := time.Now().UnixMilli()
	ttl := int64(w.pttl(key))
	p := period{from: from + ttl, to: time.Now().UnixMilli() + ttl}
	if w.embedded { // time passes between its commands only, so a slow script is taken off the TTL
		p.from -= 2000
		p.to += 2000
	}
	return p
}

// expire lets a hold end.
func (w *world) expire(rt *rapid.T, key string) {
	var live []int
	for i, h := range w.holds {
		if !h.ended {
			live = append(live, i)
		}
	}
	h := &w.holds[one(rt, "hold", live)]
	h.ended = true
	h.period = period{from: 1, to: w.nowMS() - 1}
	w.do("ZADD", key, "XX", h.to, h.member())
	if n, err := w.rdb.ZScore(w.t.Context(), key, h.member()).Result(); err != nil || int64(n) != h.to {
		w.t.Fatalf("%s of %s: %v, %v", h.member(), key, n, err)
	}
}

// member is how the set has it.
func (h hold) member() string {
	if h.rests {
		return "-" + h.claimant.member()
	}
	return h.claimant.member()
}

// drain lets everybody go. Nothing must be left then but what ends soon.
func (w *world) drain(key string) {
	w.t.Helper()
	if w.other != "" {
		w.do("DEL", w.lock)
		w.other = ""
	}
	for range 2 { // a release may grant another one
		for _, c := range w.all {
			w.release(c, 0, 0, w.releaseOf(c, 0, 0, w.fifth()))
			if w.kind.Shared && c.weight == all {
				light := c.lighter()
				w.release(light, 0, 0, w.releaseOf(light, 0, 0, ""))
			}
		}
	}
	for i, h := range w.holds {
		w.do("ZADD", key, "XX", w.nowMS()-1, h.member())
		w.holds[i].ended = true
	}
	w.pump()
	if len(w.places)+len(w.holds) > 0 || w.exists(w.lock) {
		w.t.Fatalf("still there:\n%s", w.dump())
	}
	if w.exists(w.queue) && len(w.buried) == 0 {
		w.t.Fatalf("a queue of nobody:\n%s", w.dump())
	}
}
