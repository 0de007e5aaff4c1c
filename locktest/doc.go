// Package locktest is for the tests of programs that lock: an embedded Redis
// and a ready client, with nothing installed. Leases run out in real time.
//
//	func TestTransfer(t *testing.T) {
//		client := locktest.NewClient(t)
//		...
//	}
//
// Several clients of one server are as several processes, and Lose takes a lease
// away, to see what the program does then:
//
//	func TestStopsWhenLost(t *testing.T) {
//		server := locktest.NewServer(t)
//		lease, err := mutex.New(server.Client(), "leader").Lock(t.Context())
//		...
//		ctx := lease.Context(t.Context())
//		server.Lose(lease)
//		if !errors.Is(context.Cause(ctx), holdfast.ErrLost) {
//			t.Error("the work was not told")
//		}
//	}
//
// The server is miniredis. It keeps to what the scripts of Holdfast need, and
// the whole test suite of Holdfast runs on it, but it is one process and one
// node: test failover and load on a real Redis.
package locktest
