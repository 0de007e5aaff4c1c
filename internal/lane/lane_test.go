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

// atFront tells whether a ticket may go on.
func atFront(k *lane.Ticket) bool {
	if k.Front() == nil {
		return true
	}
	select {
	case <-k.Front():
		return true
	default:
		return false
	}
}

// lanes is how many lanes the table keeps, which nothing else shows.
func lanes(t *lane.Table) int { return reflect.ValueOf(t).Elem().FieldByName("lanes").Len() }

// only wants that of these tickets the one with that index is at the front.
func only(t *testing.T, tickets []*lane.Ticket, front int) {
	t.Helper()
	for i, k := range tickets {
		if atFront(k) != (i == front) {
			t.Fatalf("ticket %d at the front: %v", i, i != front)
		}
	}
}

func enter(table *lane.Table, n int) []*lane.Ticket {
	tickets := make([]*lane.Ticket, n)
	for i := range tickets {
		tickets[i] = table.Enter(lane.Key{Lock: "k"})
	}
	return tickets
}

func TestOrder(t *testing.T) {
	var table lane.Table
	tickets := enter(&table, 5)
	if tickets[0].Front() != nil {
		t.Fatal("the first has to wait")
	}
	for i, k := range tickets {
		only(t, tickets[i:], 0)
		k.Leave()
	}
	if n := lanes(&table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
}

func TestEachKeyHasItsLane(t *testing.T) {
	var table lane.Table
	a, b := table.Enter(lane.Key{Lock: "a"}), table.Enter(lane.Key{Lock: "b"})
	if !atFront(a) || !atFront(b) {
		t.Fatal("one waits for another key")
	}
	behind := table.Enter(lane.Key{Lock: "b"})
	a.Leave()
	if atFront(behind) {
		t.Fatal("served by another key")
	}
	b.Leave()
	if !atFront(behind) {
		t.Fatal("not served")
	}
	behind.Leave()
	if n := lanes(&table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
}

func TestLeaveFromTheMiddle(t *testing.T) {
	var table lane.Table
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
	last := table.Enter(lane.Key{Lock: "k"}) // behind who is still there
	if atFront(last) {
		t.Fatal("two at the front")
	}
	tickets[3].Leave()
	if !atFront(last) {
		t.Fatal("the last one was not served")
	}
	last.Leave()
	if n := lanes(&table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
}

// One that gives up in the moment when it is served passes its turn on.
func TestLeaveWhenServed(t *testing.T) {
	var table lane.Table
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
	if n := lanes(&table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
}

func TestNews(t *testing.T) {
	var table lane.Table
	tickets := enter(&table, 3)
	other := table.Enter(lane.Key{Lock: "other"})
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
	if got := table.Enter(lane.Key{Lock: "k"}).News(); got != "second" {
		t.Fatalf("news %v for one who came later", got)
	}
	other.Leave()
	if got := table.Enter(lane.Key{Lock: "other"}).News(); got != nil {
		t.Fatalf("news %v of a lane that was empty", got)
	}
}

// However they come, leave and give up, one at a time is at the front, everyone
// who stays gets there, and nothing is left.
func TestConcurrentUse(t *testing.T) {
	const users, turns, names = 16, 300, 3
	var table lane.Table
	var inside [names]int // guarded by the front of each lane
	var served [names]int
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for i := range turns {
				name := (user + i) % names
				k := table.Enter(lane.Key{Lock: strconv.Itoa(name)})
				if k.Front() != nil && rand.IntN(3) == 0 {
					for range rand.IntN(3) {
						runtime.Gosched() // it may be served meanwhile
					}
					k.Leave()
					continue
				}
				if k.Front() != nil {
					<-k.Front()
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
	if n := lanes(&table); n != 0 {
		t.Fatalf("%d lanes are left", n)
	}
	for name, n := range served {
		if n == 0 {
			t.Errorf("nobody was served in lane %d", name)
		}
	}
}
