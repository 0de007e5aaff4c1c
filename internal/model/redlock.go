package main

import (
	"fmt"
	"strings"
)

// The lock on a majority of independent servers, in its try form: an acquisition
// asks all nodes at once, holds with a majority, and gives back everywhere what
// it has or may have. There is no queue, so there is nobody to wait or to wake.

const (
	nodes   = 3
	quorum  = 2
	seekers = 2
)

// majority is the model of it.
type majority struct {
	setup
	rules rule
}

// majorityState is everything at one instant. Between a client and a node are at
// most one acquire, one extension and one release, each at any delay.
type majorityState struct {
	node     [nodes]node
	seeker   [seekers]seeker
	link     [seekers][nodes]link
	restarts int8 // that may still happen
	renewals int8
	broken   bool // a lease that was over is believed again
}

// node is what one server has of the lock.
type node struct {
	holder int8 // a seeker plus one; 0 is nobody
	left   int8
	away   int8 // ticks until it answers again
	late   bool // held by an acquire that came after its own release
}

// seeker is an acquisition at its client.
type seeker struct {
	phase  phase       // idle, waiting (for a majority), held, over
	until  [nodes]int8 // ticks for which the node certainly keeps it
	lapsed bool        // it was held, and its deadline passed
}

// stage of a call between a client and a node.
type stage int8

const (
	absent   stage = iota
	asked          // on its way to the node
	written        // done, and nothing to tell yet: see replicas.go
	granted        // on its way back: yours
	declined       // on its way back: another holds it
)

type call struct {
	stage stage
	age   int8 // since it was sent
}

type link struct {
	acquire, extend call
	release         bool
}

// majorityStep is one thing that happens.
type majorityStep struct {
	what    string
	who, at int8 // seeker and node; -1 for none
}

var _ protocol[majorityState, majorityStep] = (*majority)(nil)

func (m *majority) keeps(r rule) bool { return m.rules&r != 0 }

func (m *majority) initial() majorityState {
	return majorityState{restarts: m.faults.crashes, renewals: m.faults.renewals}
}

// remains is for how long a seeker holds: until the node that completes its
// majority may forget it.
func (m *majority) remains(k *seeker) int8 {
	longest, second := int8(0), int8(0)
	for _, u := range k.until {
		if u > longest {
			longest, second = u, longest
		} else {
			second = max(second, u)
		}
	}
	if !m.keeps(majorityNeeded) || !m.keeps(quorumDeadline) && (k.phase == held || second > 0) {
		return longest
	}
	return second
}

func (m *majority) believed(k *seeker) bool { return k.phase == held && m.remains(k) > 0 }

func (m *majority) check(s *majorityState) string {
	if s.broken {
		return "REVIVED: a lease that was over is believed again"
	}
	if m.believed(&s.seeker[0]) && m.believed(&s.seeker[1]) {
		return "EXCLUSION: two believe that they have a majority"
	}
	for i, n := range s.node {
		if n.holder == 0 || n.late {
			continue
		}
		k := n.holder - 1
		if s.seeker[k].phase == over && !s.link[k][i].release {
			return "GHOST: a node has a hold whose client has left, and nothing under way frees it"
		}
	}
	return ""
}

// next emits every step that can happen.
func (m *majority) next(s *majorityState, each func(majorityStep, *majorityState)) {
	if s.broken {
		return
	}
	emit := func(e majorityStep, t *majorityState) {
		t.sortNodes()
		each(e, t)
	}
	for i := range s.seeker {
		m.seekerSteps(s, int8(i), emit) //nolint:gosec // two of them
		for j := range s.node {
			m.linkSteps(s, i, j, emit)
		}
	}
	for j := range s.node {
		if s.restarts > 0 && s.node[j].away == 0 {
			t := *s
			t.restarts--
			t.node[j] = node{}
			if m.keeps(stayAway) {
				t.node[j].away = m.ttl
			}
			emit(majorityStep{what: "loses its data", at: int8(j), who: -1}, &t) //nolint:gosec // three of them
		}
	}
	t := *s
	m.tick(&t)
	emit(majorityStep{what: "-- one tick passes --", who: -1, at: -1}, &t)
}

// seekerSteps are what a client does by itself.
func (m *majority) seekerSteps(s *majorityState, i int8, emit func(majorityStep, *majorityState)) {
	do := func(what string, change func(*majorityState)) {
		t := *s
		change(&t)
		emit(majorityStep{what: what, who: i, at: -1}, &t)
	}
	switch k := &s.seeker[i]; k.phase {
	case idle:
		if i == 0 || s.seeker[i-1].phase != idle { // any other order is the same run
			do("asks all nodes", func(t *majorityState) {
				t.seeker[i].phase = waiting
				for j := range t.link[i] {
					t.link[i][j].acquire = call{stage: asked}
				}
			})
		}
	case waiting:
		do("gives up and releases", func(t *majorityState) { m.leave(t, i) })
	case held:
		do("releases", func(t *majorityState) { m.leave(t, i) })
		if s.renewals > 0 && (m.believed(k) || !m.keeps(readdWhileHeld)) {
			do("extends on all nodes", func(t *majorityState) {
				t.renewals--
				for j := range t.link[i] {
					t.link[i][j].extend = call{stage: asked}
				}
			})
		}
	case lowering, over, dead:
	}
}

// leave ends an acquisition and releases it: on all nodes, since one whose
// answer is not known may have it.
func (m *majority) leave(s *majorityState, i int8) {
	for j := range s.link[i] {
		l := &s.link[i][j]
		l.release = m.keeps(releaseAll) || s.seeker[i].until[j] > 0
		for _, c := range []*call{&l.acquire, &l.extend} {
			if c.stage == asked {
				c.age = 0 // nobody counts from it any more
			} else {
				*c = call{}
			}
		}
	}
	s.seeker[i] = seeker{phase: over}
}

// linkSteps are what can happen between a client and a node.
func (m *majority) linkSteps(s *majorityState, i, j int, emit func(majorityStep, *majorityState)) {
	do := func(what string, change func(*majorityState, *link)) {
		t := *s
		change(&t, &t.link[i][j])
		emit(majorityStep{what: what, who: int8(i), at: int8(j)}, &t) //nolint:gosec // few of them
	}
	l := &s.link[i][j]
	serves := s.node[j].away == 0
	if l.release && serves {
		do("serves the release of", func(t *majorityState, u *link) {
			u.release = false
			if t.node[j].holder == int8(i)+1 { //nolint:gosec // two of them
				t.node[j] = node{}
			}
		})
	}
	if l.acquire.stage == asked && serves {
		do("serves the acquire of", func(t *majorityState, u *link) { m.take(t, i, j, &u.acquire) })
	}
	if l.extend.stage == asked && serves {
		do("serves the extension of", func(t *majorityState, u *link) { m.take(t, i, j, &u.extend) })
	}
	if l.acquire.stage > asked {
		do("answers the acquire of", func(t *majorityState, u *link) { m.hear(t, i, j, &u.acquire) })
	}
	if l.extend.stage > asked {
		do("answers the extension of", func(t *majorityState, u *link) { m.hear(t, i, j, &u.extend) })
	}
}

// take is the script of both: it extends what is held under the id, and takes
// what nobody holds, so that a node that forgot the lock has it again.
func (m *majority) take(s *majorityState, i, j int, c *call) {
	n, id := &s.node[j], int8(i)+1 //nolint:gosec // two of them
	c.stage = declined
	if n.holder == 0 {
		*n = node{holder: id, late: s.seeker[i].phase == over && !s.link[i][j].release}
	}
	if n.holder == id {
		n.left = m.ttl
		c.stage = granted
	}
	if s.seeker[i].phase == over {
		*c = call{}
	}
}

// hear is an answer that arrives at its client.
func (m *majority) hear(s *majorityState, i, j int, c *call) {
	k := &s.seeker[i]
	if c.stage == granted {
		left := m.ttl - c.age
		if !m.keeps(fromSend) {
			left = m.ttl
		}
		k.until[j] = max(k.until[j], left)
	}
	*c = call{}
	if m.remains(k) > 0 {
		k.phase = held
		s.broken = s.broken || k.lapsed
	}
}

// sortNodes puts the nodes in an order: which is which makes no difference.
func (s *majorityState) sortNodes() {
	for i := 1; i < nodes; i++ {
		for j := i; j > 0 && s.rank(j) < s.rank(j-1); j-- {
			s.node[j], s.node[j-1] = s.node[j-1], s.node[j]
			for k := range s.seeker {
				u, l := &s.seeker[k].until, &s.link[k]
				u[j], u[j-1] = u[j-1], u[j]
				l[j], l[j-1] = l[j-1], l[j]
			}
		}
	}
}

// rank is a number for all that concerns a node, different for what differs.
func (s *majorityState) rank(j int) uint64 {
	n := s.node[j]
	r := uint64(0)
	add := func(v int8) { r = r<<3 | uint64(v) } //nolint:gosec // small and not negative
	flag := func(b bool) {
		r <<= 1
		if b {
			r |= 1
		}
	}
	for _, v := range [...]int8{n.holder, n.left, n.away} {
		add(v)
	}
	flag(n.late)
	for i := range s.seeker {
		l := s.link[i][j]
		for _, v := range [...]int8{
			s.seeker[i].until[j], int8(l.acquire.stage), l.acquire.age, int8(l.extend.stage), l.extend.age,
		} {
			add(v)
		}
		flag(l.release)
	}
	return r
}

// tick lets time pass. A lease whose deadline passes is over for good.
func (m *majority) tick(s *majorityState) {
	for j := range s.node {
		n := &s.node[j]
		n.away = max(0, n.away-1)
		if n.left = max(0, n.left-1); n.left == 0 {
			*n = node{away: n.away}
		}
	}
	for i := range s.seeker {
		k := &s.seeker[i]
		for j := range k.until {
			k.until[j] = max(0, k.until[j]-1)
			for _, c := range []*call{&s.link[i][j].acquire, &s.link[i][j].extend} {
				if c.stage != absent && k.phase != over {
					c.age = min(c.age+1, m.ttl)
				}
			}
		}
		if k.phase != held || m.remains(k) > 0 {
			continue
		}
		if m.keeps(readdWhileHeld) {
			m.leave(s, int8(i)) //nolint:gosec // two of them
		} else {
			k.lapsed = true
		}
	}
}

// describe puts a step into words.
func (m *majority) describe(e majorityStep, _, after *majorityState) string {
	text := e.what
	switch {
	case e.who >= 0 && e.at >= 0:
		text = fmt.Sprintf("a node %s c%d", e.what, e.who)
	case e.who >= 0:
		text = fmt.Sprintf("c%d %s", e.who, e.what)
	case e.at >= 0:
		text = "a node " + e.what
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-40s| nodes", text)
	for _, n := range after.node {
		switch {
		case n.holder > 0:
			fmt.Fprintf(&b, " c%d(%d)", n.holder-1, n.left)
		case n.away > 0:
			b.WriteString(" away")
		default:
			b.WriteString(" free")
		}
	}
	b.WriteString(" |")
	for i := range after.seeker {
		k := &after.seeker[i]
		switch {
		case m.believed(k):
			fmt.Fprintf(&b, " c%d HOLDS(for %d)", i, m.remains(k))
		case k.phase == held:
			fmt.Fprintf(&b, " c%d past its deadline", i)
		case k.phase == waiting:
			fmt.Fprintf(&b, " c%d asks", i)
		case k.phase == over:
			fmt.Fprintf(&b, " c%d over", i)
		}
	}
	return b.String()
}
