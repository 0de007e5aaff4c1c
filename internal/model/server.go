package main

// script runs a request at the server, in one step as a Lua script does. What it
// answers and whom it wakes goes under way.
func (m *model) script(s *state, r message) {
	switch r.kind {
	case first, poll:
		m.acquire(s, r)
	case release:
		m.release(s, r)
	case renew:
		m.renew(s, r)
	case downgrade:
		m.downgrade(s, r)
	case pump:
		if m.grant(s, nobody) && s.client[r.id].phase != dead {
			s.send(r) // "more": its client calls again
		}
	case acquired, renewed, downgraded, wakeUp:
		panic("model: not a request")
	}
}

// nobody is the caller of a script that wants nothing for itself.
const nobody int8 = -1

// acquire takes the lock or a place, or tells how the place stands.
func (m *model) acquire(s *state, r message) {
	v, id := &s.server, r.id
	a := message{kind: acquired, id: id, age: r.age}
	switch {
	case v.holds(id) && (v.hold[id].weight == m.requests[id].weight || m.keeps(anyWeight)):
		m.again(s, r)
		a.answer, a.token = yours, v.hold[id].token
	case v.grave[id], r.kind == poll && v.place(id) < 0 && m.keeps(firstOnly):
		a.answer = gone
		a.more = m.grant(s, nobody)
	default:
		a.more = m.enter(s, r)
		a.answer, a.token = notYet, v.last
		if v.holds(id) {
			a.answer, a.token = yours, v.hold[id].token
		}
	}
	m.reply(s, r, a)
}

// again is an acquire that finds its id to be a holder.
func (m *model) again(s *state, r message) {
	h := &s.server.hold[r.id]
	if m.keeps(rearm) {
		h.left = m.ttl
	}
	if m.kind == reentrant && !m.keeps(countIsSize) {
		s.server.used++ // HINCRBY for every copy that arrives
	}
	if r.kind == first && !m.keeps(weightStays) {
		h.weight = m.requests[r.id].weight // as the first acquire wrote it
	}
}

// enter gives id a place, or refreshes the one it has, and lets the grant loop
// decide. A re-entry passes the queue: to wait would be to wait for itself.
func (m *model) enter(s *state, r message) (more bool) {
	v, id := &s.server, r.id
	if m.kind == reentrant && m.owned(v, id) && m.keeps(reentryPasses) {
		v.unqueue(id)
		m.take(s, id)
		return false
	}
	if !m.keeps(waitTurn) && m.fits(s, id, id) {
		m.judgeOrder(s, id)
		v.unqueue(id)
		m.take(s, id)
		return false
	}
	if v.place(id) < 0 {
		v.enqueue(id)
	}
	v.live[id] = m.live
	return m.grant(s, id)
}

// release ends whatever id has, and hands on what that frees.
func (m *model) release(s *state, r message) {
	v, id := &s.server, r.id
	v.unqueue(id)
	if r.grave && m.keeps(tombstone) {
		v.grave[id] = true
	}
	m.vacate(s, id)
	if !m.keeps(handOver) {
		m.judgeIdle(s, false)
		return
	}
	if m.grant(s, nobody) {
		m.callPump(s, id) // the answer says "more"
	}
}

// vacate ends the hold of id, if it has one.
func (m *model) vacate(s *state, id int8) {
	v := &s.server
	switch {
	case v.hold[id].weight > 0:
		v.remove(id)
	case !m.keeps(onlyHeld):
		v.used -= m.requests[id].weight
	case !m.keeps(byAcquisition):
		for other := range v.hold {
			if v.hold[other].weight > 0 && m.requests[other].owner == m.requests[id].owner {
				v.remove(int8(other)) //nolint:gosec // fewer than maxIDs
				break
			}
		}
	}
	if v.used == 0 && !m.keeps(outlive) {
		v.grave = [maxIDs]bool{}
	}
}

// renew extends what is held by id. It does not look at anything else.
func (m *model) renew(s *state, r message) {
	v, id := &s.server, r.id
	a := message{kind: renewed, id: id, age: r.age, answer: gone}
	switch {
	case v.holds(id):
		v.hold[id].left = m.ttl
		a.answer = yours
	case v.hold[id].weight > 0 && !m.keeps(expiredIsLost):
		v.hold[id].left = m.ttl
		a.answer = yours
	case !m.keeps(neverRecreate) && m.fits(s, id, id):
		m.take(s, id)
		a.answer = yours
	}
	s.send(a)
}

// downgrade makes a writer a reader under the same id and token.
func (m *model) downgrade(s *state, r message) {
	v, id := &s.server, r.id
	a := message{kind: downgraded, id: id, age: r.age, answer: gone}
	h := &v.hold[id]
	if v.holds(id) && (h.token == r.token || !m.keeps(sameToken)) {
		if h.weight > 1 || !m.keeps(idempotent) {
			v.used -= m.requests[id].weight - 1
		}
		h.weight, h.left = 1, m.ttl
		a.answer, a.token = yours, h.token
	}
	if m.keeps(lowerGrants) {
		a.more = m.grant(s, nobody)
	} else {
		m.judgeIdle(s, false)
	}
	m.reply(s, r, a)
}

// reply sends an answer. One that nobody waits for is of no use but for its
// "more", which the client heeds all the same.
func (m *model) reply(s *state, r, a message) {
	switch {
	case r.wanted:
		s.send(a)
	case a.more:
		m.callPump(s, r.id)
	}
}
