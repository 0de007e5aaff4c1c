package main

import (
	"fmt"
	"strings"
)

// A process whose goroutines pass a mutex on among themselves, and another one that
// wants it. To Redis they are clients as any, so the model of the protocol runs here
// as it is: its first acquisitions are the process's with the lane, one after the
// other under the same numbers, the last one is the other's. Tenures follow each other
// within a tick; at most one begins in each, which makes a number of them a time.

const (
	laneIDs = 2                // acquisitions of the process that anybody may know of at once
	other   = int8(laneIDs)    // the other process's
	crew    = 3                // goroutines of the process; each wants the lock again and again
	turn    = 1                // tenures of a turn, after the first one
	bypass  = 3*turn + laneTTL // tenures that may pass a live waiter by: see check
	laneTTL = 2
)

// passing is the model of it.
type passing struct{ model }

type passingState struct {
	state
	lane lane
}

// lane is what the process knows. Goroutines are alike, so that those who wait are
// a number.
type lane struct {
	waiting int8
	holder  int8 // acquisition plus one; 0: none of this process holds
	place   int8 // the one in Redis's queue, plus one
	settled bool // Redis has answered for the place
	others  ear
	credit  int8 // tenures left of the turn
	told    int8 // a message to that acquisition plus one is under way: somebody came
	rivals  bool // what the last answer for the place says, or said
	fresh   bool // it was asked for and came within this tick
	passed  bool // within this tick
	passes  int8 // since the other one is in the queue
}

// ear is what the holder has heard of others.
type ear int8

const (
	unheard ear = iota
	nobodyElse
	somebody
)

type passingStep struct {
	step
	what string // of the lane; "": a step of the protocol
}

var _ protocol[passingState, passingStep] = (*passing)(nil)

func (p *passing) initial() passingState { return passingState{state: p.model.initial()} }

// next emits every step that can happen.
func (p *passing) next(s *passingState, each func(passingStep, *passingState)) {
	emit := func(e passingStep, t *passingState) {
		p.atOnce(&t.state)
		p.tell(s, t)
		p.reconcile(t)
		p.atOnce(&t.state)
		p.canonical(&t.state)
		p.recycle(t)
		each(e, t)
	}
	p.model.next(&s.state, func(e step, to *state) {
		if e.action != served && e.action != heard && e.action != tick && e.id != other {
			return // what the process does by itself is the lane's to say
		}
		t := passingState{state: *to, lane: s.lane}
		p.follow(&t, e)
		emit(passingStep{step: e}, &t)
	})
	do := func(what string, change func(*passingState)) {
		t := *s
		change(&t)
		emit(passingStep{what: what}, &t)
	}
	p.laneSteps(s, do)
	if s.lane.holder > 0 {
		p.holderSteps(s, s.lane.holder-1, do)
	}
}

// laneSteps are those of goroutines that wait, and of their place.
func (p *passing) laneSteps(s *passingState, do func(string, func(*passingState))) {
	l := &s.lane
	if busy := min(l.holder, 1); l.waiting+busy < crew && p.roomFor(s) {
		do("a goroutine joins the lane", func(t *passingState) { t.lane.waiting++ })
	}
	if l.waiting > 0 && s.left.cancels > 0 {
		do("a goroutine in the lane is cancelled", func(t *passingState) {
			t.left.cancels--
			if t.lane.waiting--; t.lane.waiting == 0 {
				p.leavePlace(t)
			}
		})
	}
	if l.place > 0 {
		id := l.place - 1
		switch c := &s.client[id]; {
		case c.asking || c.polled:
		case l.waiting > 0:
			do("the lane's place is asked for", func(t *passingState) { p.ask(&t.state, id) })
		case c.answered:
			do("the lane's place is left: nobody waits", func(t *passingState) { p.leavePlace(t) })
		}
	}
	if l.told > 0 {
		do("the holder is told that somebody waits", func(t *passingState) {
			if t.lane.told == t.lane.holder {
				if t.lane.others == nobodyElse {
					t.lane.credit = turn
				}
				t.lane.others = somebody
			}
			t.lane.told = 0
		})
	}
	if s.left.evicts > 0 && s.server.places > 0 {
		do("the queue is evicted", func(t *passingState) {
			t.left.evicts--
			t.server.queue, t.server.places, t.server.live = [maxIDs]int8{}, 0, [maxIDs]int8{}
		})
	}
}

// holderSteps are those of the goroutine that holds.
func (p *passing) holderSteps(s *passingState, id int8, do func(string, func(*passingState))) {
	l, c := &s.lane, &s.client[id]
	switch {
	case c.left == 0:
		do("the lease has ended", func(t *passingState) { p.end(&t.state, id) })
		return
	case !p.mayPass(l, c):
		do("a goroutine releases to Redis", func(t *passingState) { p.end(&t.state, id) })
	case !l.passed:
		do("a goroutine passes it on", func(t *passingState) {
			m := &t.lane
			m.waiting--
			m.credit = max(0, m.credit-1)
			m.passed = true
			if t.server.place(other) >= 0 && t.server.live[other] > 0 {
				m.passes++
			}
		})
	}
	// The place and the hold are asked for by one watchdog on one server: while
	// the one is not answered, nor is the other.
	if c.left < p.ttl && s.server.holds(id) && (l.fresh || l.place == 0 || !l.settled) {
		do("the hold is renewed", func(t *passingState) {
			t.server.hold[id].left, t.client[id].left = p.ttl, p.ttl
		})
	}
}

// mayPass tells whether the hold goes to the next in the lane.
func (p *passing) mayPass(l *lane, c *client) bool {
	switch {
	case l.waiting == 0 || c.left < p.ttl/2:
		return false
	case l.waiting == 1 && !l.settled && p.keeps(notToTheLast):
		return false // its place would be for nobody, and its outcome unknown
	case l.others == nobodyElse, l.others == unheard && !p.keeps(unheardIsSomebody):
		return true
	}
	return l.credit > 0 || !p.keeps(turnEnds)
}

// atOnce lets the other process's messages arrive: how late they may be is for the
// other setups to try.
func (p *passing) atOnce(s *state) {
	for i := 0; i < int(s.flying); i++ {
		f := s.net[i]
		if f.id != other {
			continue
		}
		s.drop(i)
		if i = -1; f.kind < acquired {
			p.script(s, f)
		} else {
			p.receive(s, f)
		}
	}
}

// tell is what the script of a new place does that is the first beside the lane's.
func (p *passing) tell(before, t *passingState) {
	v, holder := &t.server, t.lane.holder
	if before.server.place(other) < 0 && v.place(other) == 1 && v.places == 2 &&
		holder > 0 && v.holds(holder-1) && p.keeps(tellsHolder) {
		t.lane.told = holder
	}
}

// follow is what the lane makes of a step of the protocol.
func (p *passing) follow(t *passingState, e step) {
	l, id := &t.lane, e.id
	switch {
	case e.action == tick:
		l.fresh, l.passed = false, false
	case e.action == served && e.message.kind <= poll && id == l.place-1:
		l.rivals = t.server.places > 1
	case e.action == heard && e.message.kind == acquired && id == l.place-1 && e.message.answer == notYet:
		l.settled = true
		l.fresh = l.fresh || e.message.age == 0
		switch {
		case l.rivals && p.keeps(answerTells):
			l.others = somebody
		case l.others == unheard:
			l.others = nobodyElse
		}
	}
}

// reconcile lets the process do at once what it does by itself.
func (p *passing) reconcile(t *passingState) {
	l := &t.lane
	if l.holder > 0 && t.client[l.holder-1].phase != held {
		l.holder = 0
	}
	for i := range int8(laneIDs) {
		if t.client[i].phase != held || l.holder == i+1 {
			continue
		}
		if l.waiting == 0 || l.holder > 0 {
			p.end(&t.state, i) // granted to nobody
			continue
		}
		l.waiting--
		l.holder, l.others, l.credit = i+1, unheard, turn
		l.passed = true
	}
	if l.place > 0 && t.client[l.place-1].phase != waiting {
		l.place, l.settled = 0, false
	}
	if l.waiting == 0 && l.holder == 0 && p.keeps(leavesWithHold) {
		p.leavePlace(t)
	}
	if l.waiting > 0 && l.place == 0 {
		p.takePlace(t)
	}
	if t.server.place(other) < 0 {
		l.passes = 0
	}
}

// takePlace sends the first acquire for whoever is at the front.
func (p *passing) takePlace(t *passingState) {
	if t.lane.others == nobodyElse && p.keeps(doubtAnew) {
		t.lane.others = unheard
	}
	for i := range int8(laneIDs) {
		if t.client[i].phase == idle {
			p.start(&t.state, i)
			t.lane.place, t.lane.settled = i+1, false
			return
		}
	}
}

func (p *passing) leavePlace(t *passingState) {
	if t.lane.place > 0 {
		p.end(&t.state, t.lane.place-1)
		t.lane.place, t.lane.settled = 0, false
	}
}

// roomFor tells whether the lane has a place, or may have one.
func (p *passing) roomFor(t *passingState) bool {
	for i := range t.client[:laneIDs] {
		if t.client[i].phase == idle {
			return true
		}
	}
	return t.lane.place > 0
}

// recycle gives the numbers of acquisitions that nobody knows any more free, and
// forgets what makes no difference.
func (p *passing) recycle(t *passingState) {
	l := &t.lane
	for i := range int8(laneIDs) {
		if t.client[i].phase == over && !t.server.holds(i) && t.server.place(i) < 0 && !t.flies(i) {
			t.client[i] = client{}
			t.server.grave[i] = false
			if l.told == i+1 {
				l.told = 0
			}
		}
	}
	if l.holder == 0 {
		l.others, l.credit, l.passed = unheard, 0, false
	}
	if l.told != l.holder {
		l.told = 0 // nobody heeds it
	}
	if l.place == 0 || !t.client[l.place-1].asking {
		l.rivals = false
	}
}

// flies tells whether anything of an acquisition is under way.
func (s *state) flies(id int8) bool {
	for _, m := range s.net[:s.flying] {
		if m.id == id {
			return true
		}
	}
	return false
}

// check. How many may pass a live waiter by: one turn before anything is known, a
// lease's time while the message is late and the answers are old (then the hold is
// not renewed either), a turn once it is known; and one more turn, of the next hold,
// if the lane's place was there before.
func (p *passing) check(s *passingState) string {
	l := &s.lane
	switch {
	case l.passes > bypass:
		return fmt.Sprintf("TURN: %d tenures have passed a live waiter of another process by", l.passes)
	case l.place > 0 && l.waiting == 0 && l.holder == 0:
		return "NOBODY: a place in the queue is kept, and nobody waits or holds who would give it up"
	case l.waiting > 0 && !p.laneServed(*s):
		return "STUCK: goroutines wait; if the other process dies now and all messages are lost, the first is not served within TTL + liveness + 1"
	}
	return p.model.check(&s.state)
}

// laneServed judges the liveness of the lane as alone.go does that of a client.
func (p *passing) laneServed(t passingState) bool {
	if t.client[other].phase != idle {
		t.client[other] = client{phase: dead}
	}
	if t.lane.holder > 0 {
		p.end(&t.state, t.lane.holder-1) // and its release is lost
	}
	t.net, t.flying = [maxMessages]message{}, 0
	for i := range t.client[:laneIDs] {
		if c := &t.client[i]; c.phase == over {
			*c = client{}
			t.server.grave[i] = false
		}
	}
	waiting := t.lane.waiting
	for range p.ttl + p.live + 1 {
		p.reconcile(&t)
		if t.lane.place > 0 {
			id := t.lane.place - 1
			p.stopAsking(&t.state, id)
			t.flying = 0
			p.ask(&t.state, id)
			p.settle(&t.state, id)
		}
		if p.reconcile(&t); t.lane.waiting < waiting {
			return true
		}
		p.tick(&t.state)
	}
	return false
}

// describe puts a step into words.
func (p *passing) describe(e passingStep, before, after *passingState) string {
	text := e.what
	switch {
	case text == "" && e.action == tick:
		text = "-- one tick passes --"
	case text == "":
		text = p.happens(e.step, &before.state)
	}
	l := &after.lane
	var b strings.Builder
	fmt.Fprintf(&b, "%-52s%s | lane %d waiting", text, p.outline(&after.state), l.waiting)
	if l.holder > 0 {
		fmt.Fprintf(&b, ", holds by c%d, others %d, credit %d", l.holder-1, l.others, l.credit)
	}
	if l.place > 0 {
		fmt.Fprintf(&b, ", place c%d", l.place-1)
	}
	if l.passes > 0 {
		fmt.Fprintf(&b, ", %d passed by", l.passes)
	}
	return b.String()
}
