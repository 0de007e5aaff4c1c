package main

// lag is how many writes a replica can be behind.
const lag = 2

// site is one server: a master, a replica of one, or down.
type site struct {
	has     version
	stream  [lag]version // on its way from the master that it follows
	behind  int8         // stream[:behind]
	follows int8         // itself: a master
	down    bool
}

// version is what a site has of the lock. Ends of leases are absolute in what
// Redis sends its replicas, so time runs in all of them alike.
type version struct {
	holder int8 // a seeker plus one; 0 is nobody
	left   int8
	queue  [seekers]int8 // seekers plus one
	live   [seekers]int8
	grave  [seekers]bool
}

// siteServes are what a master does for a client. In a split, each master does.
func (m *replicated) siteServes(s *replicatedState, i, j int8, emit emitter) {
	if s.site[j].follows != j || s.site[j].down {
		return
	}
	k := &s.seeker[i]
	if k.proof.stage == written && k.proof.at == j && m.enough(&k.proof) {
		emit(i, j, "counts enough replicas for", func(t *replicatedState) { t.seeker[i].proof.counted() })
	}
	if s.full(j) {
		return
	}
	if k.ask.stage == asked {
		emit(i, j, "serves the acquire of", func(t *replicatedState) { m.serveAsk(t, i, j) })
	}
	if k.proof.stage == asked {
		emit(i, j, "serves the renewal of", func(t *replicatedState) { m.serveProof(t, i, j) })
	}
	if k.release {
		emit(i, j, "serves the release of", func(t *replicatedState) {
			t.seeker[i].release = false
			v := t.site[j].has
			v.remove(i)
			v.grave[i] = true
			m.grant(t, &v, nobody)
			t.write(j, v)
		})
	}
}

// serveAsk is the script of an acquire and of a poll.
func (m *replicated) serveAsk(s *replicatedState, i, j int8) {
	k, v := &s.seeker[i], s.site[j].has
	switch {
	case v.holder == i+1:
		v.left = m.ttl
	case v.grave[i], k.entered && !v.queued(i):
		k.ask.stage = declined
		return
	default:
		v.enqueue(i)
		v.live[i] = m.live
		m.grant(s, &v, i)
	}
	k.ask.stage = written // "not yet"
	if v.holder == i+1 {
		k.ask.stage = granted
	}
	if v != s.site[j].has {
		s.write(j, v)
	}
}

// serveProof is the script of a renewal, and what its WAIT waits for.
func (m *replicated) serveProof(s *replicatedState, i, j int8) {
	p, v := &s.seeker[i].proof, s.site[j].has
	if v.holder != i+1 {
		p.stage = declined
		return
	}
	v.left = m.ttl
	s.write(j, v)
	p.stage, p.at = written, j
	for r := range s.site {
		p.behind[r] = never
		if follower := &s.site[r]; follower.follows == j && int8(r) != j && !follower.down { //nolint:gosec // few
			p.behind[r] = follower.behind
		}
	}
}

// grant gives a free lock to the first in the queue that is alive.
func (m *replicated) grant(s *replicatedState, v *version, caller int8) {
	for v.holder == 0 && v.queue[0] != 0 {
		id := v.queue[0] - 1
		alive := v.live[id] > 0
		v.remove(id)
		if !alive {
			continue
		}
		v.holder, v.left = id+1, m.ttl
		if id != caller && s.seeker[id].phase == waiting {
			s.seeker[id].wake = call{stage: granted}
		}
	}
}

// siteSteps are what happens to a server.
func (m *replicated) siteSteps(s *replicatedState, j int8, emit emitter) {
	n := &s.site[j]
	switch {
	case n.down:
	case n.follows != j && n.behind > 0:
		emit(-1, j, "receives a write", func(t *replicatedState) { t.deliver(j) })
	}
	if n.down || j == s.latest {
		return
	}
	if n.follows != s.latest {
		emit(-1, j, "turns to the new master", func(t *replicatedState) { t.turn(j) })
		return
	}
	if s.failovers > 0 && m.mayPromote(s, j) {
		emit(-1, j, "is promoted", func(t *replicatedState) {
			t.failovers--
			t.site[t.latest].down = m.keeps(downFirst) && !m.split
			t.detach(j)
			t.site[j].follows, t.latest = j, j
		})
	}
}

// mayPromote tells whether that replica may become the master. In a split, any
// may: who would know better is on the other side.
func (m *replicated) mayPromote(s *replicatedState, j int8) bool {
	if m.split || !m.keeps(furthest) {
		return true
	}
	for r := range s.site {
		if o := &s.site[r]; o.follows == s.latest && int8(r) != s.latest && o.behind < s.site[j].behind { //nolint:gosec // few
			return false
		}
	}
	return true
}

// settle lets every replica receive all that is under way to it.
func (s *replicatedState) settle() {
	for j := range s.site {
		for s.site[j].behind > 0 {
			s.deliver(int8(j)) //nolint:gosec // three of them
		}
	}
}

// full tells whether a replica of that master can fall back no further.
func (s *replicatedState) full(j int8) bool {
	for r := range s.site {
		if s.site[r].follows == j && s.site[r].behind == lag {
			return true
		}
	}
	return false
}

// write changes what a master has, and sends it to its replicas.
func (s *replicatedState) write(j int8, v version) {
	s.site[j].has = v
	for r := range s.site {
		if n := &s.site[r]; int8(r) != j && n.follows == j && !n.down { //nolint:gosec // three of them
			n.stream[n.behind] = v
			n.behind++
		}
	}
}

// deliver lets a replica receive the next write.
func (s *replicatedState) deliver(j int8) {
	n := &s.site[j]
	n.has = n.stream[0]
	copy(n.stream[:], n.stream[1:n.behind])
	n.behind--
	n.stream[n.behind] = version{}
	for i := range s.seeker {
		if b := &s.seeker[i].proof.behind[j]; *b > 0 {
			*b--
		}
	}
}

// turn makes a site a replica of the latest master, with all that it has.
func (s *replicatedState) turn(j int8) {
	s.detach(j)
	s.site[j].has, s.site[j].follows = s.site[s.latest].has, s.latest
}

// detach cuts a site off from the master that it follows.
func (s *replicatedState) detach(j int8) {
	n := &s.site[j]
	n.stream, n.behind = [lag]version{}, 0
	for i := range s.seeker {
		p := &s.seeker[i].proof
		if p.behind[j] > 0 {
			p.behind[j] = never
		}
		if p.stage == written && p.at == j { // it is not a master any more: its clients are told
			p.behind = [nodes]int8{never, never, never}
		}
	}
}

func (v *version) queued(i int8) bool {
	for _, q := range v.queue {
		if q == i+1 {
			return true
		}
	}
	return false
}

// enqueue gives a seeker the last place, unless it has one.
func (v *version) enqueue(i int8) {
	for at, q := range v.queue {
		if q == i+1 {
			return
		}
		if q == 0 {
			v.queue[at] = i + 1
			return
		}
	}
}

// remove takes away what a seeker has.
func (v *version) remove(i int8) {
	if v.holder == i+1 {
		v.holder, v.left = 0, 0
	}
	v.live[i] = 0
	n := 0
	for _, q := range v.queue {
		if q != 0 && q != i+1 {
			v.queue[n] = q
			n++
		}
	}
	for ; n < len(v.queue); n++ {
		v.queue[n] = 0
	}
}

func (v *version) tick() {
	if v.left = max(0, v.left-1); v.left == 0 {
		v.holder = 0
	}
	for i := range v.live {
		v.live[i] = max(0, v.live[i]-1)
	}
}
