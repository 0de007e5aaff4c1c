package main

// breach is a property that a step broke and that cannot be seen in the state
// after it.
type breach int8

const (
	none breach = iota
	tokenOrder
	passed
	idleRoom
	gapLeft
)

var breachTexts = [...]string{
	"",
	"TOKEN ORDER: a later lease has the lower token than one that it excludes",
	"FIFO: one was admitted although an earlier live waiter was still in the queue",
	"IDLE: a script ended although the head of the queue fits, and said nothing of it",
	"GAP: another writer held the lock between the writer's lease and its reader's",
}

// check says which property a state breaks, "" if none.
func (m *model) check(s *state) string {
	if s.broken != none {
		return breachTexts[s.broken]
	}
	for _, judge := range []func(*state) string{m.exclusion, m.counter, m.ghost, m.untold, m.stuck} {
		if broken := judge(s); broken != "" {
			return broken
		}
	}
	return ""
}

// believed tells whether a client has a lease as far as it can know.
func (s *state) believed(id int8) bool {
	return s.client[id].phase == held && s.client[id].left > 0
}

// weight is what the lease of id weighs at its client.
func (m *model) weight(s *state, id int8) int8 {
	if s.client[id].reader {
		return 1
	}
	return m.requests[id].weight
}

// conflict tells whether two acquisitions exclude each other.
func (m *model) conflict(s *state, a, b int8) bool {
	if m.kind == reentrant {
		return m.requests[a].owner != m.requests[b].owner
	}
	return m.weight(s, a)+m.weight(s, b) > max(m.requests[a].limit, m.requests[b].limit)
}

// exclusion: the believed leases together are within the limit of the one that
// was admitted last. With equal limits that is the limit; for a mutex, one
// lease; for a writer, itself alone; for the reentrant lock, one owner.
func (m *model) exclusion(s *state) string {
	sum, last, latest := int8(0), int8(-1), int8(-1)
	for i := range m.requests {
		id := int8(i) //nolint:gosec // fewer than maxIDs
		if !s.believed(id) {
			continue
		}
		if m.kind == reentrant {
			if latest >= 0 && m.conflict(s, id, latest) {
				return "EXCLUSION: two owners believe that they hold the lock"
			}
			latest = id
			continue
		}
		sum += m.weight(s, id)
		if t := s.client[id].token; t > last {
			last, latest = t, id
		}
	}
	if m.kind != reentrant && latest >= 0 && sum > m.requests[latest].limit {
		return "EXCLUSION: the leases believed together are more than the limit"
	}
	return ""
}

// counter: what is counted beside the holds is what they weigh.
func (m *model) counter(s *state) string {
	sum := int8(0)
	for _, h := range s.server.hold {
		sum += h.weight
	}
	if sum != s.server.used {
		return "COUNTER: used is not the sum of what the stored holds weigh"
	}
	return ""
}

// ghost: nobody holds at the server whose client has left, unless something is
// under way that frees it; and nobody who holds is in the queue as well.
func (m *model) ghost(s *state) string {
	for i := range m.requests {
		id := int8(i) //nolint:gosec // fewer than maxIDs
		if s.server.holds(id) && s.client[id].phase == over && !s.underWay(release, id) {
			return "GHOST: the server has a hold whose client has left, and nothing under way frees it"
		}
		if s.believed(id) && s.server.place(id) >= 0 && s.server.live[id] > 0 {
			return "PLACE: one who holds is in the queue as well, and those behind wait for nobody"
		}
	}
	return ""
}

// untold: where no message is late for ever, room is not left to a live head
// that fits unless something under way will see to it. A mutex that expires at
// the server is the exception: no script notices it, only the next poll.
func (m *model) untold(s *state) string {
	v := &s.server
	if m.kind == exclusive || s.left != m.faults || v.places == 0 ||
		v.live[v.queue[0]] == 0 || !m.fits(s, v.queue[0], nobody) {
		return ""
	}
	for _, f := range s.net[:s.flying] {
		switch f.kind {
		case first, poll, release, downgrade, pump:
			return ""
		case acquired, downgraded, wakeUp:
			if f.more {
				return ""
			}
		case renew, renewed:
		}
	}
	return "UNTOLD: the head of the queue fits, no script was told to go on, and nothing is under way"
}

// judgeOrder: nobody is admitted while an earlier live waiter is in the queue.
func (m *model) judgeOrder(s *state, id int8) {
	for _, q := range s.server.queue[:s.server.places] {
		if q == id {
			return
		}
		if s.server.live[q] > 0 {
			s.broken = passed
		}
	}
}

// judgeIdle: a script that may have found room does not end while the head of
// the queue is alive and fits, unless it says "more".
func (m *model) judgeIdle(s *state, more bool) {
	v := &s.server
	if more || v.places == 0 {
		return
	}
	if head := v.queue[0]; v.live[head] > 0 && m.fits(s, head, nobody) {
		s.broken = idleRoom
	}
}
