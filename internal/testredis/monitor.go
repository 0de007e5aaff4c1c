package testredis

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// CommandCount counts the commands that clients sent and the server executed,
// without those that scripts called. It is safe for concurrent use.
//
// INFO cannot tell them apart: commandstats and total_commands_processed both count
// a script's own calls, and take EVALSHA and the SET inside for two commands. MONITOR
// can: it marks what a script calls.
//
// Not counted are commands that are refused before they run (unknown ones, OOM,
// READONLY, NOAUTH, MOVED and the like), and administrative ones that MONITOR does
// not show (CONFIG, DEBUG). EVALSHA that ends in NOSCRIPT is counted.
type CommandCount struct {
	tb    testing.TB
	admin *redis.Client
	conn  net.Conn

	mu    sync.Mutex
	lines *bufio.Reader
	calls map[string]int64
}

// markerPrefix begins the text of an ECHO that is ours.
const markerPrefix = "testredis-"

// The group "connection" of Redis: sent when a pool happens to dial or to check a
// connection, not by the work that a test counts.
var connectionCommands = map[string]bool{
	"AUTH": true, "CLIENT": true, "ECHO": true, "HELLO": true,
	"PING": true, "QUIT": true, "RESET": true, "SELECT": true,
}

// CountClientCommands begins to count. The count ends with the test, or when the
// server stops. MONITOR costs the server time, so do not measure speed meanwhile;
// and what is not asked for by [CommandCount.Total] or [CommandCount.ByName] piles
// up in the server's memory, about one line a command.
func (s *Server) CountClientCommands(tb testing.TB) *CommandCount {
	tb.Helper()
	conn, err := s.dial(tb.Context())
	if err != nil {
		tb.Fatalf("testredis: monitor: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	c := &CommandCount{
		tb: tb, admin: s.client(), conn: conn,
		lines: bufio.NewReader(conn), calls: make(map[string]int64),
	}
	if err := c.begin(s.password()); err != nil {
		tb.Fatalf("testredis: monitor: %v", err)
	}
	return c
}

// Total returns how many commands clients sent since the count began or was reset.
// Every command whose reply was read before the call is in it. Connection commands
// (HELLO, AUTH, CLIENT, SELECT, PING and the like) are not: they depend on when a
// pool dials.
func (c *CommandCount) Total() int64 {
	c.tb.Helper()
	var total int64
	for name, n := range c.ByName() {
		if !connectionCommands[name] {
			total += n
		}
	}
	return total
}

// ByName returns the same by upper-case name, with the connection commands. A
// command of two words goes by its first.
func (c *CommandCount) ByName() map[string]int64 {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUp()
	return maps.Clone(c.calls)
}

// Reset sets the count to zero.
func (c *CommandCount) Reset() {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUp()
	clear(c.calls)
}

func (c *CommandCount) begin(password string) error {
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	if password != "" {
		if err := c.ask(fmt.Sprintf("AUTH %q", password)); err != nil {
			return err
		}
	}
	return c.ask("MONITOR")
}

func (c *CommandCount) ask(command string) error {
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		return err
	}
	reply, err := c.lines.ReadString('\n')
	if err == nil && reply != "+OK\r\n" {
		err = fmt.Errorf("%s", strings.TrimSpace(reply))
	}
	return err
}

// catchUp reads up to now. The server executes one command after the other and
// shows them in that order, so whatever came before a marker of our own has been
// read when the marker is read.
func (c *CommandCount) catchUp() {
	c.tb.Helper()
	marker := markerPrefix + rand.Text()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.tb.Context()), callTimeout)
	defer cancel()
	if err := c.admin.Echo(ctx, marker).Err(); err != nil {
		c.tb.Fatalf("testredis: monitor: %v", err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(callTimeout)); err != nil {
		c.tb.Fatalf("testredis: monitor: %v", err)
	}
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			c.tb.Fatalf("testredis: monitor: %v", err)
		}
		source, name, args := parseMonitorLine(line)
		if name == "ECHO" && strings.Contains(args, marker) {
			return
		}
		fromClient := strings.Contains(source, ":") // else it is the name of a script engine
		if fromClient && !strings.Contains(args, `"`+markerPrefix) {
			c.calls[name]++
		}
	}
}

// parseMonitorLine takes apart
//
//	+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
//
// where "lua" stands in the place of the address if a script made the call.
func parseMonitorLine(line string) (source, name, args string) {
	_, rest, _ := strings.Cut(line, " [")
	where, command, _ := strings.Cut(rest, "] ")
	_, source, _ = strings.Cut(where, " ")
	name, args, _ = strings.Cut(strings.TrimSpace(command), " ")
	return source, strings.ToUpper(strings.Trim(name, `"`)), args
}
