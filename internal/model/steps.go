package main

// action is what a step is of.
type action int8

const (
	starts action = iota + 1
	polls
	gaveUp // waiting for an answer
	asksAgain
	cancels
	releases
	expires
	renews
	lowers
	handsOn // the lease, to a goroutine of the same process
	drops   // gives up a downgrade that is unknown
	crashes
	served   // the server runs a request
	repeated // and its answer is lost, so that it is sent again
	heard    // a client receives
	tick
)

// step is one thing that happens.
type step struct {
	action  action
	id      int8
	message message
}

// next emits every step that can happen in s.
func (m *model) next(s *state, emit func(step, *state)) {
	if s.broken != none {
		return
	}
	for i := range m.requests {
		m.clientSteps(s, int8(i), emit) //nolint:gosec // fewer than maxIDs
	}
	for i := range s.net[:s.flying] {
		if i == 0 || s.net[i] != s.net[i-1] {
			m.messageSteps(s, i, emit)
		}
	}
	t := *s
	m.tick(&t)
	m.canonical(&t)
	emit(step{action: tick}, &t)
}

// clientSteps emits what the client of an acquisition can do by itself.
func (m *model) clientSteps(s *state, id int8, emit func(step, *state)) {
	c := &s.client[id]
	do := func(a action, change func(*state, *client)) {
		t := *s
		change(&t, &t.client[id])
		m.canonical(&t)
		emit(step{action: a, id: id}, &t)
	}
	switch c.phase {
	case idle:
		if m.mayStart(s, id) {
			do(starts, func(t *state, _ *client) { m.start(t, id) })
		}
	case waiting:
		if !c.asking && !c.polled {
			do(polls, func(t *state, _ *client) { m.ask(t, id) })
		}
		if s.left.cancels > 0 {
			do(cancels, func(t *state, _ *client) { t.left.cancels--; m.end(t, id) })
		}
	case held:
		m.holderSteps(s, id, do)
	case lowering:
		if !c.asking && !c.polled {
			do(asksAgain, func(t *state, _ *client) { m.askLower(t, id) })
		}
		do(drops, func(t *state, d *client) {
			if m.keeps(unknownReleases) {
				m.end(t, id)
				return
			}
			m.stopAsking(t, id)
			d.phase = over
		})
	case over, dead:
	}
	if c.asking && c.phase != over && s.left.timeouts > 0 {
		do(gaveUp, func(t *state, _ *client) { t.left.timeouts--; m.stopAsking(t, id) })
	}
	if s.left.crashes > 0 && c.phase != idle && c.phase != over && c.phase != dead {
		do(crashes, func(t *state, d *client) { t.left.crashes--; m.stopAsking(t, id); d.phase = dead })
	}
}

// holderSteps are the steps of a client that holds, or has held until its
// deadline.
func (m *model) holderSteps(s *state, id int8, do func(action, func(*state, *client))) {
	c := &s.client[id]
	if c.left == 0 {
		do(expires, func(t *state, _ *client) { m.end(t, id) })
		return
	}
	do(releases, func(t *state, _ *client) { m.end(t, id) })
	if s.left.renewals > 0 {
		do(renews, func(t *state, _ *client) {
			t.left.renewals--
			t.send(message{kind: renew, id: id})
		})
	}
	if c.turn < m.requests[id].turns {
		do(handsOn, func(t *state, d *client) {
			d.turn++
			left := d.left
			if !m.keeps(holdsDeadline) {
				left = m.ttl
			}
			m.believe(t, id, d.token+1, left)
		})
	}
	if m.requests[id].lowers && !c.reader && !s.underWay(downgrade, id) {
		do(lowers, func(t *state, d *client) {
			m.stopAsking(t, id)
			if m.keeps(overFirst) {
				d.phase = lowering
			}
			m.askLower(t, id)
		})
	}
}

// messageSteps emits what can happen to a message under way.
func (m *model) messageSteps(s *state, i int, emit func(step, *state)) {
	f := s.net[i]
	t := *s
	t.drop(i)
	what := heard
	switch f.kind {
	case first, poll, release, renew, downgrade, pump:
		what = served
		m.script(&t, f)
	case acquired, renewed, downgraded, wakeUp:
		m.receive(&t, f)
	}
	if f.kind == release && s.left.repeats > 0 {
		u := t
		u.left.repeats--
		u.send(f)
		m.canonical(&u)
		emit(step{action: repeated, id: f.id, message: f}, &u)
	}
	m.canonical(&t)
	emit(step{action: what, id: f.id, message: f}, &t)
}

// mayStart tells whether id may start. Acquisitions of the same kind start in
// the order of their numbers: any other order is the same run under other names.
func (m *model) mayStart(s *state, id int8) bool {
	for i, r := range m.requests[:id] {
		if r == m.requests[id] && s.client[i].phase == idle {
			return false
		}
	}
	return true
}

// start sends the first acquire.
func (m *model) start(s *state, id int8) {
	s.client[id] = client{phase: waiting, asking: true, polled: true}
	s.send(message{kind: first, id: id, wanted: true})
}

// ask sends a poll, or the first acquire again if none was answered.
func (m *model) ask(s *state, id int8) {
	c := &s.client[id]
	k := poll
	if !c.answered {
		k = first
	}
	c.asking, c.polled = true, true
	s.send(message{kind: k, id: id, wanted: true})
}

// askLower sends a downgrade.
func (m *model) askLower(s *state, id int8) {
	c := &s.client[id]
	c.asking, c.polled = true, true
	s.send(message{kind: downgrade, id: id, token: c.token, wanted: true})
}

// tick lets time pass, everywhere alike. A mutex is a key that Redis expires; a
// hold in a set stays until a script reaps it.
func (m *model) tick(s *state) {
	v := &s.server
	for i := range v.hold {
		if v.hold[i].left > 0 {
			v.hold[i].left--
		}
		if v.hold[i].left == 0 && m.kind == exclusive {
			v.remove(int8(i)) //nolint:gosec // fewer than maxIDs
		}
		v.live[i] = max(0, v.live[i]-1)
		c := &s.client[i]
		c.polled = false
		c.left = max(0, c.left-1)
		if c.phase == waiting {
			c.base = min(c.base+1, m.ttl)
		}
	}
	for i := range s.net[:s.flying] {
		switch f := &s.net[i]; f.kind {
		case release, pump, wakeUp:
		case first, poll, renew, downgrade, acquired, renewed, downgraded:
			f.age = min(f.age+1, m.ttl)
		}
	}
}
