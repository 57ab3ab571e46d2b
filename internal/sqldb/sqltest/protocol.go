package sqltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
)

// What a Proxy knows of the protocol. Source: PostgreSQL, "Message Formats".

// IsCommit reports whether a statement is the one that commits: on CockroachDB
// that is the release of the outer savepoint, and the COMMIT that follows it.
func IsCommit(statement string) bool {
	statement = strings.ToLower(strings.TrimRight(statement, "; "))
	return statement == "commit" || strings.HasPrefix(statement, "release savepoint")
}

// statements follows what a client prepares, to know what it carries out.
type statements struct {
	prepared map[string]string // by name: the text
	portals  map[string]string // by name: the text
}

// carriedOut returns the statement that a message asks to carry out, if it does:
// a simple query, or the execution of a portal.
func (s *statements) carriedOut(kind byte, body []byte) (string, bool) {
	if s.prepared == nil {
		s.prepared, s.portals = map[string]string{}, map[string]string{}
	}
	first, rest := cutText(body)
	switch kind {
	case 'Q':
		return first, true
	case 'P': // Parse: the statement's name, its text
		s.prepared[first], _ = cutText(rest)
	case 'B': // Bind: the portal's name, the statement's name
		name, _ := cutText(rest)
		s.portals[first] = s.prepared[name]
	case 'E': // Execute: the portal's name
		return s.portals[first], true
	}
	return "", false
}

// cutText takes a zero-terminated string off a message.
func cutText(body []byte) (string, []byte) {
	text, rest, _ := bytes.Cut(body, []byte{0})
	return string(text), rest
}

// ambiguousResult is what CockroachDB says when it does not know if it has
// committed: an error with code 40003, and that it is ready.
func ambiguousResult() []byte {
	fields := "SERROR\x00VERROR\x00C40003\x00Mresult is ambiguous (told by the test's proxy)\x00\x00"
	message := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fields)))
	message = append(message, fields...)
	return append(message, 'Z', 0, 0, 0, 5, 'E')
}

// readMessage reads a message: its kind, its length, its body.
func readMessage(conn net.Conn) (kind byte, message []byte, err error) {
	head := make([]byte, 1)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, nil, err
	}
	message, err = readBody(conn, head)
	return head[0], message, err
}

// maxMessage bounds a message in bytes: a batch of a test is far smaller.
const maxMessage = 64 << 20

func readBody(conn net.Conn, head []byte) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	message := append(append(make([]byte, 0, len(head)+int(n)), head...), size...)
	message = message[:len(head)+int(n)]
	_, err := io.ReadFull(conn, message[len(head)+4:])
	return message, err
}
