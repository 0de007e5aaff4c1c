package testredis

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports come from below the range from which the kernel serves outgoing
// connections (32768 on Linux). Else a client that dials on and on while its server
// is stopped could be given the server's own port, and the restart would fail. The
// bus port of a cluster node, 10000 higher, lies below it too, and is nobody's
// client port.
const (
	firstPort = 11000
	portCount = 10000
)

// port is a TCP port that no other test server takes, neither in this process nor
// in another, not even while the server that uses it is stopped.
type port struct {
	number int
	claim  net.PacketConn
}

// reservePort finds a free port. What claims it is the UDP port of the same number:
// that is exclusive, the server does not need it, and the kernel gives it back
// whatever becomes of this process.
func reservePort(ctx context.Context) (*port, error) {
	var lc net.ListenConfig
	for range portCount {
		p, err := claimPort(ctx, firstPort+rand.IntN(portCount))
		if err != nil {
			continue
		}
		if l, err := lc.Listen(ctx, "tcp4", p.addr()); err == nil {
			return p, l.Close()
		}
		p.release()
	}
	return nil, errors.New("no free port")
}

func claimPort(ctx context.Context, number int) (*port, error) {
	var lc net.ListenConfig
	p := &port{number: number}
	claim, err := lc.ListenPacket(ctx, "udp4", p.addr())
	p.claim = claim
	return p, err
}

func (p *port) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)) }

func (p *port) release() { _ = p.claim.Close() }
