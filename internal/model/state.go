package main

// Sizes of a state. A state is one flat value of bytes, so that it can be
// compared and hashed as it is; a run that needs more stops and says so.
const (
	maxIDs      = 4  // acquisitions
	maxMessages = 14 // under way at once
)

// state is everything at one instant. All times are relative, in ticks, and
// clamped where a longer time makes no difference: that keeps the number of
// states finite without a horizon.
type state struct {
	server server
	client [maxIDs]client // one for each acquisition
	net    [maxMessages]message
	flying int8   // messages under way, net[:flying]
	left   budget // faults that may still happen
	broken breach // what a step broke that cannot be seen in the state after it
}

// server is what Redis has of one lock.
type server struct {
	hold   [maxIDs]hold
	used   int8 // the counter beside the holds
	last   int8 // last token given
	queue  [maxIDs]int8
	places int8         // queue[:places], in order of arrival
	live   [maxIDs]int8 // ticks for which a waiter still counts as alive
	grave  [maxIDs]bool // tombstones
}

// hold is one entry in the set of holders; weight 0 means that there is none.
// left 0 means expired and not yet reaped.
type hold struct {
	weight, left, token int8
}

// phase of an acquisition at its client.
type phase int8

const (
	idle     phase = iota // nothing sent yet
	waiting               // first acquire sent, not held
	held                  // believed, until its deadline
	lowering              // a writer's lease is over, its downgrade is not answered
	over                  // released, left or lost; its release was sent
	dead                  // its process crashed
)

// client is one acquisition at its client.
type client struct {
	phase    phase
	base     int8 // waiting: ticks since the base of belief
	left     int8 // held: ticks until the local deadline
	seen     int8 // waiting: highest token in a "not yet"
	token    int8 // of its lease; kept when the lease is over, to judge the order
	asking   bool // an acquire or downgrade waits for its answer
	polled   bool // one was sent since the last tick: at most one a tick
	answered bool // an acquire of this id was answered
	unknown  bool // a first acquire was not: a copy of it may arrive later
	reader   bool // downgraded
	turn     int8 // held: how often the lease was handed on
	gap      bool // lowering: another writer was believed meanwhile
}

// kind of a message.
type kind int8

const (
	first      kind = iota + 1 // first acquire of an id
	poll                       // acquire that only asks
	release                    // release or leave
	renew                      //
	downgrade                  //
	pump                       // run the grant loop on
	acquired                   // answer to first and poll
	renewed                    // answer to renew
	downgraded                 // answer to downgrade
	wakeUp                     // to a granted waiter
)

// answer of the server.
type answer int8

const (
	yours answer = iota + 1
	notYet
	gone
)

// message is a request, an answer or a wake-up under way. Nothing is said about
// how long it takes or which one overtakes which; one that is lost is one that
// takes for ever.
type message struct {
	kind   kind
	id     int8
	age    int8 // ticks since the request was sent
	token  int8
	answer answer
	wanted bool // request: its client still waits for the answer
	grave  bool // release: writes a tombstone
	more   bool // answer, wake-up: the script stopped at its bound
}

// budget is how many faults of each kind may still happen.
type budget struct {
	timeouts int8 // a client stops waiting for an answer and sends again
	crashes  int8
	cancels  int8 // a waiter's context ends
	renewals int8
	repeats  int8 // the answer to a release is lost, so it is sent again
	evicts   int8 // the queue is gone: of a lane only
}

// send puts a message under way.
func (s *state) send(m message) {
	if int(s.flying) == maxMessages {
		panic("model: more messages under way than a state has room for; raise maxMessages")
	}
	s.net[s.flying] = m
	s.flying++
}

// drop takes a message out of the net.
func (s *state) drop(i int) {
	copy(s.net[i:], s.net[i+1:int(s.flying)])
	s.flying--
	s.net[s.flying] = message{}
}

// underWay tells whether there is a message of that kind and id.
func (s *state) underWay(k kind, id int8) bool {
	for _, m := range s.net[:s.flying] {
		if m.kind == k && m.id == id {
			return true
		}
	}
	return false
}

// place is the index of id in the queue, -1 if it has none.
func (v *server) place(id int8) int {
	for i, q := range v.queue[:v.places] {
		if q == id {
			return i
		}
	}
	return -1
}

// enqueue gives id the last place.
func (v *server) enqueue(id int8) {
	v.queue[v.places] = id
	v.places++
}

// unqueue takes the place of id away, if it has one.
func (v *server) unqueue(id int8) {
	i := v.place(id)
	if i < 0 {
		return
	}
	copy(v.queue[i:], v.queue[i+1:int(v.places)])
	v.places--
	v.queue[v.places] = 0
	v.live[id] = 0
}

// holds tells whether id is a holder whose time is not over.
func (v *server) holds(id int8) bool { return v.hold[id].weight > 0 && v.hold[id].left > 0 }

// remove takes a hold away, and its weight off the counter.
func (v *server) remove(id int8) {
	v.used -= v.hold[id].weight
	v.hold[id] = hold{}
}
