package main

// canonical forgets what can no longer make a difference, so that states which
// behave alike are one state. Whatever is forgotten here has a reason why nothing
// can depend on it any more; everything else stays.
func (m *model) canonical(s *state) {
	if !m.raw {
		m.forget(s)
	}
	rankTokens(s)
	sortNet(s)
}

func (m *model) forget(s *state) {
	for i := range m.requests {
		m.canonicalClient(s, int8(i)) //nolint:gosec // fewer than maxIDs
	}
	for i := 0; i < int(s.flying); i++ {
		if !m.canonicalMessage(s, &s.net[i]) {
			s.drop(i)
			i--
		}
	}
	for i := range m.requests {
		m.canonicalDoubt(s, int8(i)) //nolint:gosec // fewer than maxIDs
	}
	m.canonicalTokens(s)
}

func (m *model) canonicalClient(s *state, id int8) {
	c := &s.client[id]
	switch c.phase {
	case idle:
	case waiting:
		c.left, c.token = 0, 0
	case held:
		c.base, c.seen, c.polled = 0, 0, false
		if c.answered && m.keeps(overFirst) {
			c.asking = false // a poll under way: its answer brings nothing new
		}
	case lowering:
		c.base, c.seen, c.left = 0, 0, 0
	case over, dead:
		*c = client{phase: c.phase, token: c.token, reader: c.reader}
	}
}

// canonicalMessage forgets the age of a message from which nobody counts any
// more, and tells whether the message can still make a difference. A request
// can: it makes the server do something whoever sent it.
func (m *model) canonicalMessage(s *state, f *message) bool {
	c := &s.client[f.id]
	switch f.kind {
	case first, poll, downgrade:
		f.wanted = f.wanted && c.asking
		if !f.wanted || c.phase == held {
			f.age = 0
		}
	case renew:
		if c.phase != held {
			f.age = 0
		}
	case acquired, downgraded:
		if f.kind == acquired && c.phase == held {
			f.age, f.token = 0, 0
		}
		return c.asking || f.more && c.phase != dead
	case renewed:
		return c.phase == held
	case wakeUp:
		useful := c.phase == waiting && (f.token > c.seen || !m.keeps(tokenAbove)) ||
			c.phase == held && !m.keeps(keepLive)
		return useful || f.more && c.phase != dead
	case release, pump:
	}
	return true
}

// canonicalDoubt forgets that a first acquire was not answered, and the
// tombstones for it, once no copy of it is under way: none can arrive.
func (m *model) canonicalDoubt(s *state, id int8) {
	if s.underWay(first, id) {
		return
	}
	s.client[id].unknown = false
	for i := range s.net[:s.flying] {
		if f := &s.net[i]; f.kind == release && f.id == id {
			f.grave = false
		}
	}
	if !s.underWay(poll, id) {
		s.server.grave[id] = false
	}
}

// canonicalTokens forgets tokens with which none will be compared. Every token
// to come is above the last, so an old one matters only as long as a lower one is
// under way to somebody, or stored for somebody, who does not believe in it yet.
func (m *model) canonicalTokens(s *state) {
	if m.kind == reentrant {
		return // a re-entry has the token of its owner, which is an old one
	}
	lowest := int8(127)
	for _, f := range s.net[:s.flying] {
		if f.kind == wakeUp || f.kind == acquired && f.answer == yours {
			lowest = min(lowest, f.token)
		}
	}
	for i := range m.requests {
		if h := s.server.hold[i]; h.weight > 0 && s.client[i].phase != held {
			lowest = min(lowest, h.token)
		}
	}
	for i := range m.requests {
		c := &s.client[i]
		c.seen = 0 // the wake-ups that are not above it were dropped just now
		if (c.phase == over || c.phase == dead) && c.token < lowest {
			c.token = 0
		}
	}
}

// rankTokens replaces tokens by their rank: only their order matters.
func rankTokens(s *state) {
	var rank [64]int8
	rank[s.server.last] = 1
	for i := range s.server.hold {
		rank[s.server.hold[i].token] = 1
		rank[s.client[i].seen] = 1
		rank[s.client[i].token] = 1
	}
	for i := range s.net[:s.flying] {
		rank[s.net[i].token] = 1
	}
	n := int8(0)
	for t := 1; t < len(rank); t++ {
		n += rank[t]
		rank[t] = 2 * n // with room between for a lease that is handed on
	}
	rank[0] = 0
	s.server.last = rank[s.server.last]
	for i := range s.server.hold {
		s.server.hold[i].token = rank[s.server.hold[i].token]
		s.client[i].seen = rank[s.client[i].seen]
		s.client[i].token = rank[s.client[i].token]
	}
	for i := range s.net[:s.flying] {
		s.net[i].token = rank[s.net[i].token]
	}
}

// sortNet orders the messages: they are a set, and any may be next.
func sortNet(s *state) {
	for i := 1; i < int(s.flying); i++ {
		for j := i; j > 0 && s.net[j].rank() < s.net[j-1].rank(); j-- {
			s.net[j], s.net[j-1] = s.net[j-1], s.net[j]
		}
	}
}

// rank orders messages; different ones have different ranks.
func (f *message) rank() uint64 {
	r := uint64(0)
	for _, b := range [...]int8{int8(f.kind), f.id, f.age, f.token, int8(f.answer)} {
		r = r<<8 | uint64(uint8(b)) //nolint:gosec // bits
	}
	for _, b := range [...]bool{f.wanted, f.grave, f.more} {
		r <<= 1
		if b {
			r |= 1
		}
	}
	return r
}
