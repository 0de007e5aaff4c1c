package main

// stuck: liveness, judged by the worst that can follow. From each reachable state
// and for each waiter: everybody else dies at once, everything under way is lost,
// and only this waiter goes on, polling once a tick. It must be served within
// TTL + liveness + one poll.
//
// This is a bound, not only a possibility: the waiter's way is a single one,
// and it uses nobody's help.
func (m *model) stuck(s *state) string {
	if !m.alone {
		return ""
	}
	for i := range m.requests {
		id := int8(i) //nolint:gosec // fewer than maxIDs
		if s.client[id].phase == waiting && !m.servedAlone(*s, id) {
			return "STUCK: c" + string(rune('0'+id)) +
				" waits; if all others die now and all messages are lost, it is not served within TTL + liveness + 1"
		}
	}
	return ""
}

// servedAlone runs the protocol for one waiter alone.
func (m *model) servedAlone(s state, id int8) bool {
	for i := range s.client {
		if int8(i) != id && s.client[i].phase != idle { //nolint:gosec // fewer than maxIDs
			s.client[i] = client{phase: dead}
		}
	}
	m.stopAsking(&s, id)
	s.net, s.flying = [maxMessages]message{}, 0
	for range m.ttl + m.live + 1 {
		m.startOver(&s, id)
		m.ask(&s, id)
		if m.settle(&s, id); s.believed(id) {
			return true
		}
		m.tick(&s)
		m.keepOwner(&s, id)
	}
	return false
}

// keepOwner lets a re-entry wait under worse conditions: what its own owner holds
// is renewed for ever, and who waits before it lives. Only if it passes them all
// does it not wait for itself.
func (m *model) keepOwner(s *state, id int8) {
	v := &s.server
	if m.kind != reentrant || !m.owned(v, id) {
		return
	}
	for i := range v.hold {
		if v.hold[i].left > 0 && m.requests[i].owner == m.requests[id].owner {
			v.hold[i].left = m.ttl
		}
	}
	for _, q := range v.queue[:v.places] {
		if q != id {
			v.live[q] = m.live
		}
	}
}

// settle runs what is under way for one client until nothing is. What is for
// others is lost: they are dead.
func (m *model) settle(s *state, id int8) {
	for s.flying > 0 {
		f := s.net[0]
		s.drop(0)
		switch f.kind {
		case first, poll, release, renew, downgrade, pump:
			m.script(s, f)
		case acquired, renewed, downgraded, wakeUp:
			if f.id == id {
				m.receive(s, f)
			}
		}
	}
}

// startOver is a waiter that lost its place: a new acquisition takes over. The
// old one has left, so that its number can serve for the new one.
func (m *model) startOver(s *state, id int8) {
	if s.client[id].phase != over {
		return
	}
	s.client[id] = client{phase: waiting}
	s.server.grave[id] = false
}
