package main

// grant is the one loop that every script runs that may find room: it reaps
// holders whose time is over, passes over the dead, and admits the head of the
// queue while it fits, whoever it is. Each of the three is a step; a bounded loop
// that stops with steps left says "more", to its caller and to the last waiter
// that it woke.
func (m *model) grant(s *state, caller int8) (more bool) {
	v := &s.server
	steps, woken := 0, -1
	var ended []int8
	for {
		id, what := m.nextStep(s, caller)
		if what == nothingToDo {
			break
		}
		if m.bound > 0 && steps == m.bound {
			more = true
			break
		}
		steps++
		switch what {
		case reapOne:
			v.remove(id)
			ended = append(ended, id)
			continue
		case skipOne:
			v.unqueue(id)
			continue
		case admitOne:
			m.judgeOrder(s, id)
			v.unqueue(id)
			m.take(s, id)
		case nothingToDo:
		}
		if id != caller {
			woken = int(s.flying)
			s.send(message{kind: wakeUp, id: id, token: v.hold[id].token})
		}
		if !m.keeps(severalGrants) {
			break
		}
	}
	if !m.keeps(reapedBefore) {
		for _, id := range ended {
			v.hold[id] = hold{} // by its id: also the hold that it has anew
		}
	}
	if more && woken >= 0 {
		s.net[woken].more = true
	}
	m.judgeIdle(s, more)
	return more
}

// stepKind is what the grant loop does next.
type stepKind int8

const (
	nothingToDo stepKind = iota
	reapOne              // take away a hold whose time is over
	skipOne              // take away the place of a dead waiter
	admitOne             // make a waiter a holder
)

// nextStep is what the grant loop would do next, and to which id.
func (m *model) nextStep(s *state, caller int8) (int8, stepKind) {
	v := &s.server
	for id, h := range v.hold {
		if h.weight > 0 && h.left == 0 && m.keeps(reapFirst) {
			return int8(id), reapOne //nolint:gosec // fewer than maxIDs
		}
	}
	for _, id := range v.queue[:v.places] {
		switch {
		case caller != nobody && id != caller && !m.keeps(anyHead):
			return 0, nothingToDo // serves nobody but its caller
		case v.live[id] == 0 && m.keeps(skipDead):
			return id, skipOne
		case m.fits(s, id, caller):
			return id, admitOne
		case m.keeps(strictOrder):
			return 0, nothingToDo // those behind it wait, though they might fit
		}
	}
	return 0, nothingToDo
}

// fits tells whether there is room for id.
func (m *model) fits(s *state, id, caller int8) bool {
	v, r := &s.server, m.requests[id]
	if m.kind == reentrant {
		return v.used == 0 || m.owned(v, id)
	}
	limit := r.limit
	if caller != nobody && !m.keeps(ownLimit) {
		limit = m.requests[caller].limit
	}
	return v.used+r.weight <= limit
}

// owned tells whether the owner of id holds the lock.
func (m *model) owned(v *server, id int8) bool {
	for other, h := range v.hold {
		if h.weight > 0 && h.left > 0 && m.requests[other].owner == m.requests[id].owner {
			return true
		}
	}
	return false
}

// take makes id a holder with a new token; a re-entry keeps its owner's.
func (m *model) take(s *state, id int8) {
	v, r := &s.server, m.requests[id]
	token := v.last + 1
	if m.kind == reentrant && m.owned(v, id) {
		for other, h := range v.hold {
			if h.weight > 0 && h.left > 0 {
				token = v.hold[other].token
			}
		}
	} else {
		v.last = token
		if r.turns > 0 && m.keeps(tokenBlock) {
			v.last += r.turns // for the leases that its process will hand on
		}
	}
	if v.hold[id].weight > 0 { // its own hold from before, expired: not counted twice
		v.remove(id)
	}
	v.hold[id] = hold{weight: r.weight, left: m.ttl, token: token}
	v.used += r.weight
}
