package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Violation is something in a history that must not be.
type Violation struct {
	Lock string
	At   time.Duration
	Text string
}

func (v Violation) String() string { return v.Text }

// Check looks for what no history may show:
//
//   - more held at once than the limit: a writer, whose weight is its limit,
//     beside anybody else, or too many permits. Where limits differ, the largest
//     of those held counts;
//   - a hold that ended before another one began that it excludes, with a token
//     that is not the lower of the two;
//   - one token, or one id, of two owners; or two tokens of one owner at once; or
//     no token.
//
// Each lock is looked at by itself. Redis may have lost its data meanwhile: what
// was granted before, and lasts for its holder until its deadline, then excludes
// nobody who came after the loss. But:
//
//   - nothing outlasts the loss by more than its TTL;
//   - tokens go on where they were.
//
// The violations are in the order of time.
func Check(ops []Op, losses ...Loss) []Violation {
	ops = inOrder(ops)
	all := remains(ops, losses)
	for _, one := range parted(ops, func(o Op) string { return o.Lock }) {
		all = append(all, doubles(one)...)
	}
	for _, one := range parted(ops, func(o Op) life { return lifeOf(o, losses) }) {
		all = slices.Concat(all, overloads(one), disorders(one))
	}
	slices.SortStableFunc(all, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return all
}

// parted keeps the order within each part.
func parted[K comparable](ops []Op, key func(Op) K) map[K][]Op {
	parts := make(map[K][]Op)
	for _, o := range ops {
		k := key(o)
		parts[k] = append(parts[k], o)
	}
	return parts
}

// overloads goes through the beginnings and keeps the holds that are not over.
func overloads(ops []Op) []Violation {
	var found []Violation
	var live []Op
	for _, o := range ops {
		if !o.lasted() {
			continue
		}
		live = slices.DeleteFunc(live, func(l Op) bool { return l.To <= o.From })
		for _, l := range live {
			if l.Owner == o.Owner && l.Token != o.Token {
				found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("two tokens of one owner at once: %v and %v", l, o)})
			}
		}
		live = append(live, o)
		if load, limit := weigh(live); load > limit {
			found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("%d held of %d:\n\t%s", load, limit, list(live))})
		}
	}
	return found
}

// weigh counts an owner once, with the heaviest of its holds.
func weigh(live []Op) (load, limit int64) {
	weights := make(map[string]int64, len(live))
	for _, o := range live {
		weights[o.Owner] = max(weights[o.Owner], o.Weight)
		limit = max(limit, o.Limit)
	}
	for _, w := range weights {
		load += w
	}
	return load, limit
}

func list(ops []Op) string {
	var lines []string
	for _, o := range ops {
		lines = append(lines, o.String())
	}
	return strings.Join(lines, "\n\t")
}

// disorders goes through beginnings and ends together. Of the holds that are
// over, the highest token for each weight and limit is enough to know.
func disorders(ops []Op) []Violation {
	type class struct{ weight, limit int64 }
	var found []Violation
	highest := make(map[class]Op)
	ends := slices.Clone(ops)
	slices.SortStableFunc(ends, func(a, b Op) int { return cmp.Compare(a.To, b.To) })
	for _, o := range ops {
		if !o.lasted() {
			continue
		}
		for len(ends) > 0 && ends[0].To <= o.From {
			over := ends[0]
			ends = ends[1:]
			c := class{over.Weight, over.Limit}
			if high, ok := highest[c]; !ok || over.Token > high.Token {
				highest[c] = over
			}
		}
		for _, before := range highest {
			same := before.Owner == o.Owner
			if same && before.Token > o.Token || before.excludes(o) && before.Token >= o.Token {
				found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("a lower token after a higher one: %v, then %v", before, o)})
			}
		}
	}
	return found
}

func doubles(ops []Op) []Violation {
	var found []Violation
	tokens, ids := make(map[int64]Op), make(map[string]Op)
	for _, o := range ops {
		if o.Token <= 0 {
			found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("no token: %v", o)})
		}
		if other, ok := tokens[o.Token]; ok && other.Owner != o.Owner {
			found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("one token for two: %v and %v", other, o)})
		}
		if other, ok := ids[o.ID]; ok && other.Owner != o.Owner {
			found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("one id, %s, for two: %v and %v", o.ID, other, o)})
		}
		tokens[o.Token], ids[o.ID] = o, o
	}
	return found
}
