package lane_test

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/lane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	laneTable = lane.Table[string, int, string]
	ticket    = lane.Ticket[string, int, string]
)

// atFront tells whether a ticket may go on.
func atFront(k *ticket) bool {
	return k.Front()
}

// told tells whether the ticket's goroutine was told to look since it last was.
func told(k *ticket) bool {
	select {
	case <-k.Sleep():
		return true
	default:
		return false
	}
}

// lanes is how many lanes the table keeps, which nothing else shows.
func lanes(t *laneTable) int { return reflect.ValueOf(t).Elem().FieldByName("lanes").Len() }

// only wants that of these tickets the one with that index is at the front.
func only(t *testing.T, tickets []*ticket, front int) {
	t.Helper()
	for i, k := range tickets {
		if atFront(k) != (i == front) {
			t.Fatalf("ticket %d at the front: %v", i, i != front)
		}
	}
}

func enter(t *laneTable, n int) []*ticket {
	tickets := make([]*ticket, n)
	for i := range tickets {
		tickets[i] = join(t, "k")
	}
	return tickets
}

func join(t *laneTable, key string) *ticket {
	k, front := t.Enter(key)
	if front != atFront(k) {
		panic("Enter and Look disagree")
	}
	return k
}

// empty wants that nothing is left.
func empty(t *testing.T, table *laneTable) {
	t.Helper()
	if n := lanes(table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
}

func TestOrder(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 5)
	for i, k := range tickets {
		only(t, tickets[i:], 0)
		k.Leave()
	}
	empty(t, &table)
}

func TestEachKeyHasItsLane(t *testing.T) {
	var table laneTable
	a, b := join(&table, "a"), join(&table, "b")
	if !atFront(a) || !atFront(b) {
		t.Fatal("one waits for another key")
	}
	behind := join(&table, "b")
	a.Leave()
	if atFront(behind) {
		t.Fatal("served by another key")
	}
	b.Leave()
	if !atFront(behind) {
		t.Fatal("not served")
	}
	behind.Leave()
	empty(t, &table)
}

func TestLeaveFromTheMiddle(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 5)
	tickets[2].Leave()
	tickets[4].Leave()
	only(t, tickets, 0)
	tickets[0].Leave()
	if !atFront(tickets[1]) || atFront(tickets[3]) {
		t.Fatal("not the next one's turn")
	}
	tickets[1].Leave()
	if !atFront(tickets[3]) || atFront(tickets[2]) || atFront(tickets[4]) {
		t.Fatal("one that left was served")
	}
	last := join(&table, "k") // behind who is still there
	if atFront(last) {
		t.Fatal("two at the front")
	}
	tickets[3].Leave()
	if !atFront(last) {
		t.Fatal("the last one was not served")
	}
	last.Leave()
	empty(t, &table)
}

// One that gives up in the moment when it is served passes its turn on.
func TestLeaveWhenServed(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 3)
	tickets[0].Leave()
	if !atFront(tickets[1]) {
		t.Fatal("not served")
	}
	tickets[1].Leave() // it has not looked yet
	if !atFront(tickets[2]) {
		t.Fatal("the turn was lost")
	}
	tickets[2].Leave()
	empty(t, &table)
}

func TestNews(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 3)
	other := join(&table, "other")
	if got := tickets[1].News(); got != nil {
		t.Fatalf("news %v before there are any", got)
	}
	tickets[0].Tell("first")
	tickets[0].Tell("second")
	for _, k := range tickets {
		if got := k.News(); got != "second" {
			t.Fatalf("news %v", got)
		}
	}
	if got := other.News(); got != nil {
		t.Fatalf("news %v of another lane", got)
	}
	tickets[0].Leave()
	if got := join(&table, "k").News(); got != "second" {
		t.Fatalf("news %v for one who came later", got)
	}
	other.Leave()
	if got := join(&table, "other").News(); got != nil {
		t.Fatalf("news %v of a lane that was empty", got)
	}
}

// A gift goes to the first whose goroutine sleeps, who leaves with it.
func TestGive(t *testing.T) {
	var table laneTable
	give := func(what string) bool { return table.Give("k", func() string { return what }) }
	if give("nobody is there") {
		t.Fatal("given to nobody")
	}
	tickets := enter(&table, 3)
	if give("the first is busy") {
		t.Fatal("given to one that has not slept yet")
	}
	for i, k := range tickets {
		k.Sleep()
		if i == 0 {
			k.Stir()
			if give("the first is busy again") {
				t.Fatal("given to one that does not sleep any more")
			}
			k.Sleep()
		}
		if !give(strconv.Itoa(i)) {
			t.Fatalf("%d was given nothing", i)
		}
		if got, given := k.Gift(); got != strconv.Itoa(i) || !given || k.Front() || !told(k) {
			t.Fatalf("%d was given %q, %v, and is at the front: %v", i, got, given, k.Front())
		}
		k.Leave() // it has left
	}
	if give("nobody is left") {
		t.Fatal("given to one who has left")
	}
	table.Freed("k", 1) // whoever held it first is through
	empty(t, &table)
}

// A lane keeps its place in Redis from one to the next: none is left there for
// nobody, and who finds one need not take another.
func TestPlace(t *testing.T) {
	var table laneTable
	give := func() bool { return table.Give("k", func() string { return "" }) }
	tickets := enter(&table, 3)
	first, second, third := tickets[0], tickets[1], tickets[2]
	l := first.Lane()
	first.Sleep()
	l.Take(7)
	l.Settle(7)
	if !give() || told(second) || l.Place() != 7 {
		t.Fatal("the second has no use for the place")
	}
	if !l.Rouse(7) || !told(second) || told(third) {
		t.Fatal("not the one at the front hears of the place")
	}
	if second.Leave() != 0 || !told(third) || l.Place() != 7 {
		t.Fatal("the place did not go to the third")
	}
	l.Unsettle(7)
	if give() {
		t.Fatal("given to the last one, whose place is not settled")
	}
	l.Settle(8) // another's
	if give() {
		t.Fatal("settled by what is not its place")
	}
	l.Settle(7)
	if !give() || l.Place() != 7 {
		t.Fatal("the place is not kept for those who may come")
	}
	if fourth := join(&table, "k"); fourth.Lane().Place() != 7 || fourth.Leave() != 7 {
		t.Fatal("the place was not found, or not given back by the last one")
	}
	empty(t, &table)
}

// What became of the place is told to each who comes to the front before somebody
// has seen to it: the one that was told may have been given something else.
func TestUnsettled(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 3)
	l := tickets[0].Lane()
	l.Take(7)
	l.Settle(7)
	for _, k := range tickets {
		k.Sleep()
	}
	l.Unsettle(8) // another's
	if l.Rouse(8); !told(tickets[0]) || told(tickets[1]) {
		t.Fatal("not the front was told")
	}
	l.Unsettle(7)
	l.Rouse(7)
	if !table.Give("k", func() string { return "" }) || !told(tickets[1]) {
		t.Fatal("the next one does not know of what became of the place")
	}
	l.Settle(7)
	if !table.Give("k", func() string { return "" }) || told(tickets[2]) {
		t.Fatal("told of what was seen to")
	}
}

// A lane stays while somebody holds the lock that came from there.
func TestServed(t *testing.T) {
	var table laneTable
	tickets := enter(&table, 2)
	l := tickets[0].Lane()
	l.Take(7)
	tickets[0].Served(7)
	if l.Holder() != 7 || l.Place() != 0 || !told(tickets[1]) {
		t.Fatal("the place is not the holder's, or the next one does not know that there is none")
	}
	l.Take(8)
	if table.Freed("k", 9) != 0 || l.Holder() != 7 {
		t.Fatal("freed by another")
	}
	if table.Freed("k", 7) != 0 || l.Holder() != 0 || l.Place() != 8 {
		t.Fatal("freed with the place of one who waits")
	}
	tickets[1].Served(8)
	l.Take(9)
	if table.Freed("k", 8) != 9 {
		t.Fatal("a place that nobody wants stays")
	}
	empty(t, &table)
	table.Hold("k", 5)
	if join(&table, "k").Lane().Holder() != 5 {
		t.Fatal("a holder without a ticket is not known")
	}
}

// What becomes of a place for which nobody waits is nobody's. One that was given up
// before does not take the lane's next one with it, and those who wait have no use
// for it.
func TestDeserted(t *testing.T) {
	var table laneTable
	for _, look := range []func(l *lane.Lane[string, int, string], place int) bool{
		func(l *lane.Lane[string, int, string], place int) bool { return !l.Rouse(place) },
		(*lane.Lane[string, int, string]).Deserted,
	} {
		k := join(&table, "k")
		l := k.Lane()
		l.Take(7)
		l.Settle(7)
		k.Sleep()
		if look(l, 7) || l.Place() != 7 {
			t.Fatal("deserted, with one who waits")
		}
		if l.Rouse(6) {
			t.Fatal("who waits has a place, and is told to see to another")
		}
		table.Give("k", func() string { return "" })
		if look(l, 6); l.Place() != 7 {
			t.Fatal("a place that was given up took another with it")
		}
		if !look(l, 7) || l.Place() != 0 {
			t.Fatal("not deserted, with nobody who waits")
		}
		empty(t, &table)
	}
}

// However they come, leave and give up, one at a time is at the front, everyone
// who stays gets there, and nothing is left.
func TestConcurrentUse(t *testing.T) {
	const users, turns, names = 16, 300, 3
	var table laneTable
	var inside [names]int // guarded by the front of each lane
	var served [names]int
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for i := range turns {
				name := (user + i) % names
				k, front := table.Enter(strconv.Itoa(name))
				if !front && rand.IntN(3) == 0 {
					for range rand.IntN(3) {
						runtime.Gosched() // it may be served meanwhile
					}
					k.Leave()
					continue
				}
				for !front {
					<-k.Sleep()
					front = k.Front()
				}
				if inside[name]++; inside[name] != 1 {
					t.Errorf("%d at the front", inside[name])
				}
				served[name]++
				k.Tell(i)
				_ = k.News()
				inside[name]--
				k.Leave()
			}
		})
	}
	all.Wait()
	empty(t, &table)
	for name, n := range served {
		if n == 0 {
			t.Errorf("nobody was served in lane %d", name)
		}
	}
}
