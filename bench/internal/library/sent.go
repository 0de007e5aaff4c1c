package library

import "strings"

// scripted are the commands by which clients run scripts, wait for messages and keep
// connections: no script calls them.
var scripted = map[string]bool{
	"eval": true, "evalsha": true, "evalsha_ro": true, "eval_ro": true, "script|load": true,
	"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true,
	"ping": true, "hello": true, "auth": true, "select": true, "command": true,
}

// Sent tells how many of the commands that the server counted were sent by clients.
// INFO commandstats counts what scripts call as well and does not tell the two apart,
// so it takes knowing the library; a test compares the result with what MONITOR
// shows. cycles is how often a lock was acquired and released meanwhile.
func (l Library) Sent(calls map[string]int64, cycles int64) int64 {
	var sent int64
	for name, n := range calls {
		if scripted[name] || strings.HasPrefix(name, "client|") {
			sent += n
		}
	}
	for _, name := range l.Sends {
		sent += calls[name]
	}
	return sent + l.SendsEach*cycles
}
