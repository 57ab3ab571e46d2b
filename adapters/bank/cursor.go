package bank

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"tweetledger/ledger"
)

// Bounds of an XML file from outside. A bank's element is a few hundred bytes at
// most; the decoder would otherwise hold a token of any size in memory.
const (
	maxToken = 64 << 10
	maxDepth = 64
)

// cursor walks through an XML document element by element, holding one token
// at a time, and knows for every refusal the file, the line and the element.
type cursor struct {
	dec    *xml.Decoder
	source *meteredReader
	file   string
	space  string // the namespace of the document; elements of others are passed over
	path   []string
}

func newCursor(r io.Reader, file string) *cursor {
	source := &meteredReader{r: r}
	dec := xml.NewDecoder(source)
	dec.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "iso-8859-1", "latin1":
			return charmap.ISO8859_1.NewDecoder().Reader(input), nil
		case "iso-8859-15":
			return charmap.ISO8859_15.NewDecoder().Reader(input), nil
		case "windows-1252":
			return charmap.Windows1252.NewDecoder().Reader(input), nil
		}
		return nil, fmt.Errorf("%w %q", errCharset, brief(charset))
	}
	return &cursor{dec: dec, source: source, file: file}
}

var (
	errToken   = errors.New("token too long")
	errCharset = errors.New("unknown character encoding")
)

// meteredReader fails once too much has been read for one token.
type meteredReader struct {
	r      io.Reader
	read   int
	failed bool // r gave an error other than io.EOF
}

// Read implements io.Reader.
func (m *meteredReader) Read(p []byte) (int, error) {
	if m.read > maxToken {
		return 0, errToken
	}
	n, err := m.r.Read(p)
	m.read += n
	m.failed = m.failed || (err != nil && err != io.EOF)
	return n, err
}

// line is where the cursor stands.
func (c *cursor) line() int {
	line, _ := c.dec.InputPos()
	return line
}

// refuse makes the error for the element that the cursor stands in.
func (c *cursor) refuse(format string, args ...any) error {
	return c.refuseAt(c.line(), strings.Join(c.path, "/"), format, args...)
}

// refuseAt makes the error for another place.
func (c *cursor) refuseAt(line int, element, format string, args ...any) error {
	return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(placeIn(c.file, line, element))
}

// here is the element that the cursor stands in, for messages of others.
func (c *cursor) here() string { return placeIn(c.file, c.line(), strings.Join(c.path, "/")) }

// placeIn says where something stands: file, line and, where it has a name, element.
func placeIn(file string, line int, element string) string {
	place := fmt.Sprintf("%s, line %d", file, line)
	if element != "" {
		place += ", " + element
	}
	return place
}

// token returns the next token that matters: a start, an end or text. At the end
// of the file it is io.EOF.
func (c *cursor) token() (xml.Token, error) {
	for {
		c.source.read = 0
		token, err := c.dec.Token()
		if err != nil {
			return nil, c.readError(err)
		}
		switch token.(type) {
		case xml.StartElement, xml.EndElement, xml.CharData:
			return token, nil
		case xml.Directive:
			return nil, c.refuse("the file has a document type declaration, which no bank sends; ask the bank for a new file")
		}
	}
}

func (c *cursor) readError(err error) error {
	syntax, broken := errors.AsType[*xml.SyntaxError](err)
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, errToken):
		return c.refuse("an element is longer than %d bytes, which no statement needs; ask the bank for a new file", maxToken)
	case errors.Is(err, errCharset):
		return c.refuse("%v; convert the file to UTF-8", err)
	case broken && strings.Contains(syntax.Msg, "unexpected EOF"):
		return c.refuseAt(syntax.Line, strings.Join(c.path, "/"), "the file ends in the middle; fetch it again")
	case c.source.failed:
		return fmt.Errorf("read %s: %w", c.file, err)
	case broken:
		return c.refuseAt(syntax.Line, strings.Join(c.path, "/"), "this is not well-formed XML: %s; fetch the file again", syntax.Msg)
	}
	return c.refuse("this is not XML that can be read: %w; fetch the file again", err) // an XML version other than 1.0, say
}

// root moves to the document's root element and returns it.
func (c *cursor) root() (xml.StartElement, error) {
	for {
		token, err := c.token()
		if errors.Is(err, io.EOF) {
			return xml.StartElement{}, c.refuse("the file holds no XML; choose the statement that the bank sent")
		}
		if err != nil {
			return xml.StartElement{}, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			c.path = append(c.path, token.Name.Local)
			return token, nil
		case xml.CharData:
			if !blank(bytes.TrimPrefix(token, []byte(byteOrderMark))) {
				return xml.StartElement{}, c.refuse("the file does not start with XML; choose the statement that the bank sent")
			}
		}
	}
}

// end makes sure that nothing follows the root element.
func (c *cursor) end() error {
	c.path = c.path[:0]
	for {
		token, err := c.token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text, ok := token.(xml.CharData); !ok || !blank(text) {
			return c.refuse("something follows the end of the document; fetch the file again")
		}
	}
}

// children calls visit for each child of the element that the cursor stands in,
// until that element ends. visit must consume the child: with children, text or
// skip. The name of an element of a foreign namespace is empty.
func (c *cursor) children(visit func(name string, attrs []xml.Attr) error) error {
	for {
		token, err := c.token()
		if err != nil {
			return c.cut(err)
		}
		switch token := token.(type) {
		case xml.EndElement:
			return nil
		case xml.CharData:
			if !blank(token) {
				return c.refuse("there is text where only elements belong; ask the bank for a new file")
			}
		case xml.StartElement:
			name := token.Name.Local
			if token.Name.Space != c.space {
				name = ""
			}
			if len(c.path) == maxDepth {
				return c.refuse("elements are nested more than %d deep; ask the bank for a new file", maxDepth)
			}
			c.path = append(c.path, token.Name.Local)
			if err := visit(name, token.Attr); err != nil {
				return err
			}
			c.path = c.path[:len(c.path)-1]
		}
	}
}

// text reads the element that the cursor stands in, which must hold text of at
// most most characters, into into. Banks send empty elements where the schema
// wants none.
func (c *cursor) text(into *string, most int) error {
	var b strings.Builder
	for {
		token, err := c.token()
		if err != nil {
			return c.cut(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			return c.refuse("there is an element <%s> where text belongs; ask the bank for a new file", brief(token.Name.Local))
		case xml.CharData:
			if b.Len()+len(token) > maxToken {
				return c.refuse("the text is longer than %d characters; ask the bank for a new file", most)
			}
			b.Write(token)
		case xml.EndElement:
			s := strings.TrimSpace(b.String())
			if n := utf8.RuneCountInString(s); n > most {
				return c.refuse("the text has %d characters and at most %d are allowed; ask the bank for a new file", n, most)
			}
			*into = s
			return nil
		}
	}
}

// nested reads the text at a path of elements below the one that the cursor
// stands in.
func (c *cursor) nested(path []string, into *string, most int) error {
	return c.children(func(name string, _ []xml.Attr) error {
		switch {
		case name != path[0]:
			return c.skip()
		case len(path) == 1:
			return c.text(into, most)
		}
		return c.nested(path[1:], into, most)
	})
}

// code reads a choice of an ISO code and one of the bank's own.
func (c *cursor) code(into *string) error {
	return c.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Cd":
			return c.text(into, maxReasonCode)
		case "Prtry":
			return c.text(into, maxReasonText)
		}
		return c.skip()
	})
}

// skip passes over the element that the cursor stands in.
func (c *cursor) skip() error {
	for depth := len(c.path); ; {
		token, err := c.token()
		if err != nil {
			return c.cut(err)
		}
		switch token.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return c.refuse("elements are nested more than %d deep; ask the bank for a new file", maxDepth)
			}
		case xml.EndElement:
			if depth--; depth < len(c.path) {
				return nil
			}
		}
	}
}

// cut turns an end of the file inside an element into a refusal.
func (c *cursor) cut(err error) error {
	if errors.Is(err, io.EOF) {
		return c.refuse("the file ends in the middle; fetch it again")
	}
	return err
}

// byteOrderMark is what some editors put before UTF-8.
const byteOrderMark = "\ufeff"

func blank(text []byte) bool { return strings.TrimSpace(string(text)) == "" }

func attribute(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}
