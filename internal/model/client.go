package main

// What a client may believe. A lease is counted from before the command that
// gave it was sent, or, if a wake-up told of it, from the last moment at which it
// was certainly not granted yet.

// receive delivers an answer or a wake-up to the client of its acquisition.
func (m *model) receive(s *state, f message) {
	if f.more {
		m.callPump(s, f.id)
	}
	switch f.kind {
	case acquired:
		m.gotAcquired(s, f)
	case renewed:
		m.gotRenewed(s, f)
	case downgraded:
		m.gotDowngraded(s, f)
	case wakeUp:
		m.gotWakeUp(s, f)
	case first, poll, release, renew, downgrade, pump:
		panic("model: not an answer")
	}
}

func (m *model) gotAcquired(s *state, f message) {
	c := &s.client[f.id]
	c.asking, c.answered = false, true
	if c.phase != waiting {
		return // a wake-up was faster
	}
	switch f.answer {
	case yours:
		left := m.ttl - f.age
		if !m.keeps(lateIsNone) {
			left = m.ttl // counted from its arrival
		}
		if left <= 0 {
			m.end(s, f.id)
			return
		}
		m.believe(s, f.id, f.token, left)
	case notYet:
		c.base = f.age
		c.seen = max(c.seen, f.token)
	case gone:
		m.end(s, f.id) // a new acquisition would start over
	}
}

func (m *model) gotWakeUp(s *state, f message) {
	c := &s.client[f.id]
	switch {
	case c.phase == held && !m.keeps(keepLive):
		s.send(message{kind: release, id: f.id})
	case c.phase != waiting:
	case f.token <= c.seen && m.keeps(tokenAbove):
		// From a grant that ran out while its wake-up was under way.
	case !m.keeps(baseOfBelief):
		m.believe(s, f.id, f.token, m.ttl)
	case m.ttl-c.base > 0:
		m.believe(s, f.id, f.token, m.ttl-c.base)
	}
	// Else it is too old to be believed, and the next poll asks.
}

func (m *model) gotRenewed(s *state, f message) {
	c := &s.client[f.id]
	switch {
	case c.phase != held || c.left == 0:
	case f.answer == yours:
		c.left = max(c.left, m.ttl-f.age)
	default:
		m.end(s, f.id)
	}
}

func (m *model) gotDowngraded(s *state, f message) {
	c := &s.client[f.id]
	if c.phase != lowering && m.keeps(overFirst) {
		return
	}
	left := m.ttl - f.age
	if !m.keeps(lowerFromSend) {
		left = m.ttl
	}
	if f.answer == gone || left <= 0 {
		m.end(s, f.id)
		return
	}
	if c.gap {
		s.broken = gapLeft
	}
	c.asking, c.reader = false, true
	m.believe(s, f.id, f.token, left)
}

// believe makes an acquisition a lease until its deadline.
func (m *model) believe(s *state, id, token, left int8) {
	c := &s.client[id]
	c.phase, c.left, c.token = held, left, token
	for other := range s.client[:len(m.requests)] {
		o := int8(other) //nolint:gosec // fewer than maxIDs
		if o == id || !m.conflict(s, id, o) {
			continue
		}
		if d := &s.client[o]; d.phase == lowering && m.weight(s, id)+1 > m.requests[id].limit {
			d.gap = true // it excludes the reader that o would be, too
		}
		if s.client[o].token >= token && s.client[o].token > 0 {
			s.broken = tokenOrder
		}
	}
}

// end makes an acquisition over and sends its release, with a tombstone if a
// copy of its first acquire may still arrive.
func (m *model) end(s *state, id int8) {
	c := &s.client[id]
	unknown := c.unknown || c.asking && !c.answered
	c.phase = over
	m.stopAsking(s, id)
	s.send(message{kind: release, id: id, grave: unknown})
}

// stopAsking leaves what is under way to itself: answers will not be heard.
func (m *model) stopAsking(s *state, id int8) {
	c := &s.client[id]
	c.unknown = c.unknown || c.asking && !c.answered
	c.asking = false
	for i := 0; i < int(s.flying); i++ {
		f := &s.net[i]
		switch {
		case f.id != id:
		case f.kind == first, f.kind == poll, f.kind == downgrade:
			f.wanted = false
		case f.kind == acquired, f.kind == downgraded:
			s.drop(i)
			i--
		}
	}
}

// callPump lets a client that was told "more" run the grant loop on.
func (m *model) callPump(s *state, id int8) {
	if m.keeps(pumpOn) && s.client[id].phase != dead && !s.underWay(pump, id) {
		s.send(message{kind: pump, id: id})
	}
}
