package main

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// protocol is what the explorer needs to know of a model: S is one state of
// everything (server, clients, messages under way), E one step between two.
type protocol[S comparable, E any] interface {
	initial() S
	// next calls emit for every step that is possible in s, with the state
	// that it leads to.
	next(s *S, emit func(E, *S))
	// check says which property s breaks, "" if none.
	check(s *S) string
	// describe puts a step into words.
	describe(step E, before, after *S) string
}

// verdict is what an exploration found.
type verdict struct {
	states int
	steps  int      // transitions taken, those to known states included
	depth  int      // steps of the longest of the shortest ways to a state
	broken string   // the property that a reachable state breaks, "" if none does
	trace  []string // how to get there, one step a line
	cut    bool     // the limit of states was reached: nothing is proven
}

// explorer walks every reachable state, nearest first, so that the first
// counterexample is also a shortest one.
type explorer[S comparable, E any] struct {
	p       protocol[S, E]
	seen    *table[S]
	parents []uint32
}

// explore visits every state that can be reached, at most limit of them.
func explore[S comparable, E any](p protocol[S, E], limit int) verdict {
	x := &explorer[S, E]{p: p, seen: newTable[S]()}
	first := p.initial()
	x.seen.add(&first)
	x.parents = append(x.parents, 0)
	v := verdict{}
	level := 1 // states found before the level that is being expanded ended
	for at := 0; at < x.seen.count && v.broken == ""; at++ {
		if at == level {
			level = x.seen.count
			v.depth++
		}
		if x.seen.count > limit {
			v.cut = true
			break
		}
		x.expand(at, &v)
	}
	v.states = x.seen.count
	return v
}

// expand takes every step from one state, until one breaks a property.
func (x *explorer[S, E]) expand(at int, v *verdict) {
	from := *x.seen.at(at) // a copy: the arena may grow
	x.p.next(&from, func(_ E, to *S) {
		v.steps++
		if v.broken != "" {
			return
		}
		n, fresh := x.seen.add(to)
		if !fresh {
			return
		}
		x.parents = append(x.parents, uint32(at)) //nolint:gosec // see table.add
		if v.broken = x.p.check(to); v.broken != "" {
			v.trace = x.way(n)
		}
	})
}

// way is the path from the initial state to one with that number. Steps are not
// stored: the way is taken again and each step recognised by where it led.
func (x *explorer[S, E]) way(n int) []string {
	var path []int
	for ; n != 0; n = int(x.parents[n]) {
		path = append(path, n)
	}
	var lines []string
	from := 0
	for _, n := range slices.Backward(path) {
		before, to := x.seen.at(from), x.seen.at(n)
		found := false
		x.p.next(before, func(step E, after *S) {
			if !found && *after == *to {
				found = true
				lines = append(lines, fmt.Sprintf("%3d. %s", len(lines)+1, x.p.describe(step, before, after)))
			}
		})
		from = n
	}
	return lines
}

// chunk is how many states are stored in one piece: an arena that grows by
// pieces never copies what it has, so its peak is its size.
const chunk = 1 << 14

// table numbers states in the order in which they were found and knows each
// of them again. States are compared whole: a fingerprint would save memory, and
// turn "every state was seen" into "almost surely every state was seen".
type table[S comparable] struct {
	seed   maphash.Seed
	chunks [][]S
	count  int
	slots  []uint32 // open addressing; the number of a state plus one
}

func newTable[S comparable]() *table[S] {
	return &table[S]{seed: maphash.MakeSeed(), slots: make([]uint32, 1<<12)}
}

// at is the state with that number.
func (t *table[S]) at(n int) *S { return &t.chunks[n/chunk][n%chunk] }

// add stores a state unless it is known. It returns its number.
func (t *table[S]) add(s *S) (n int, fresh bool) {
	if 3*t.count >= 2*len(t.slots) {
		t.grow()
	}
	slot := t.find(s)
	if known := t.slots[slot]; known != 0 {
		return int(known - 1), false
	}
	if t.count%chunk == 0 {
		t.chunks = append(t.chunks, make([]S, chunk))
	}
	*t.at(t.count) = *s
	t.count++
	t.slots[slot] = uint32(t.count) //nolint:gosec // a run that large has no memory left
	return t.count - 1, true
}

// find is the slot that has the state, or the one that would take it.
func (t *table[S]) find(s *S) uint64 {
	mask := uint64(len(t.slots) - 1)
	slot := maphash.Comparable(t.seed, *s) & mask
	for t.slots[slot] != 0 && *t.at(int(t.slots[slot] - 1)) != *s {
		slot = (slot + 1) & mask
	}
	return slot
}

// grow doubles the slots and puts every state in its new one.
func (t *table[S]) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	for n := range t.count {
		t.slots[t.find(t.at(n))] = uint32(n + 1) //nolint:gosec // see add
	}
}
