package keys

import (
	"strconv"
	"strings"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// Tag returns a text without '}' which, put in braces, hashes to the slot of
// key: the key's own hash tag where Redis sees one, else the key itself, else,
// where the key has a '}' that would end the tag early, a short text found by
// search. It is a pure function: all clients of all versions must agree on it.
func Tag(key string) string {
	if tag, ok := effectiveTag(key); ok {
		return tag
	}
	if !strings.Contains(key, "}") && key != "" {
		return key
	}
	slot := crc16(key) % slots
	for n := uint64(0); ; n++ { // about 16,384 tries of a few bytes each: well below a millisecond or two
		if text := strconv.FormatUint(n, 36); crc16(text)%slots == slot {
			return text
		}
	}
}

// Slot is the cluster slot that Redis assigns to key.
func Slot(key string) int {
	if tag, ok := effectiveTag(key); ok {
		key = tag
	}
	return int(crc16(key) % slots)
}

// effectiveTag is what Redis hashes instead of the whole key: the text between
// the first '{' and the first '}' after it, if that is not empty (Redis Cluster
// specification, "Hash tags").
func effectiveTag(key string) (string, bool) {
	_, after, ok := strings.Cut(key, "{")
	if !ok {
		return "", false
	}
	tag, _, ok := strings.Cut(after, "}")
	return tag, ok && tag != ""
}

// crc16 is CRC-16/XMODEM, bit by bit: it runs once per lock handle whose name
// holds a stray '}', so a table would only be one more thing to read.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
