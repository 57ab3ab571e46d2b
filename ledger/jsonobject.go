package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// maxJSONDepth bounds how deep a document nests: what this package reads needs
// three levels.
const maxJSONDepth = 8

// jsonObject is an object of a JSON document that is read strictly: each field is
// taken by its exact name, and what nobody took is unknown. The first error of
// the document stays; what is read after it is zero. A nil object is one that is
// not there, with no fields.
type jsonObject struct {
	path     string // in the document: "postings[2]"; "" for the document itself
	values   map[string]any
	order    []string
	document *jsonDocument
}

type jsonDocument struct{ err error }

func (d *jsonDocument) refuse(path, format string, args ...any) {
	if d.err == nil {
		d.err = Errorf(CodeInvalid, format, args...).InField(path)
	}
}

// readJSON reads a document that is one object. It refuses what encoding/json
// would put up with: repeated names, broken text, anything behind the end.
func readJSON(data []byte, most int) (*jsonObject, error) {
	if len(data) > most {
		return nil, Errorf(CodeInvalid, "the document has %d bytes; at most %d are read", len(data), most)
	}
	if !utf8.Valid(data) || loneSurrogate(data) {
		return nil, Errorf(CodeInvalid, "the document is not UTF-8 text")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	document := &jsonDocument{}
	value, err := document.value(decoder, "", 0)
	if err != nil {
		return nil, Errorf(CodeInvalid, "the document is not JSON: %s at byte %d", jsonProblem(err), decoder.InputOffset())
	}
	if document.err != nil {
		return nil, document.err
	}
	object, ok := value.(*jsonObject)
	if !ok {
		return nil, Errorf(CodeInvalid, "the document is %s; an object is needed", kindOf(value))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, Errorf(CodeInvalid, "the document goes on behind its end, at byte %d", decoder.InputOffset())
	}
	return object, nil
}

func jsonProblem(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends too soon"
	}
	return err.Error()
}

// value reads the next value: a *jsonObject, []any, string, json.Number, bool or nil.
func (d *jsonDocument) value(decoder *json.Decoder, path string, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxJSONDepth {
		d.refuse(path, "the document nests more than %d levels", maxJSONDepth)
		return nil, nil
	}
	if delim == '[' {
		return d.list(decoder, path, depth)
	}
	return d.object(decoder, path, depth)
}

func (d *jsonDocument) list(decoder *json.Decoder, path string, depth int) (any, error) {
	list := []any{}
	for decoder.More() && d.err == nil {
		value, err := d.value(decoder, fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, d.end(decoder)
}

func (d *jsonDocument) object(decoder *json.Decoder, path string, depth int) (any, error) {
	o := &jsonObject{path: path, values: map[string]any{}, document: d}
	for decoder.More() && d.err == nil {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder lets nothing else stand there
		value, err := d.value(decoder, o.at(name), depth+1)
		if err != nil {
			return nil, err
		}
		if _, repeated := o.values[name]; repeated {
			d.refuse(o.at(name), "the name %q stands there twice", Clip(name))
		}
		o.values[name] = value
		o.order = append(o.order, name)
	}
	return o, d.end(decoder)
}

// end reads the bracket behind a list or an object, unless the document is
// refused already.
func (d *jsonDocument) end(decoder *json.Decoder) error {
	if d.err != nil {
		return nil
	}
	_, err := decoder.Token()
	return err
}

// loneSurrogate reports whether an escape stands for half a character, which
// encoding/json would silently replace.
func loneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		switch escapedUnit(data[i:]) >> 10 {
		case highSurrogates:
			if escapedUnit(data[i+6:])>>10 != lowSurrogates {
				return true
			}
			i += 11
		case lowSurrogates:
			return true
		default:
			i++ // the escaped character
		}
	}
	return false
}

// The upper six bits of the units of UTF-16 that are half a character.
const (
	highSurrogates = 0xD800 >> 10
	lowSurrogates  = 0xDC00 >> 10
)

// escapedUnit returns the unit of UTF-16 that an escape like \u00e9 at the
// beginning of text stands for; 0 where there is no such escape.
func escapedUnit(text []byte) uint64 {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return unit
}

func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// at returns the path of a field of o. A name that would not fit on a line is
// left to the message.
func (o *jsonObject) at(name string) string {
	if !Printable(name, MaxMetadataKey) {
		return o.path
	}
	return strings.TrimPrefix(o.path+"."+name, ".")
}

// refuse records what is wrong with a field.
func (o *jsonObject) refuse(name, format string, args ...any) {
	o.document.refuse(o.at(name), format, args...)
}

// adopt records an error about the value of a field under the field's path.
func (o *jsonObject) adopt(name string, err error) {
	if o.document.err == nil {
		o.document.err = within(err, o.at(name))
	}
}

// take removes and returns a field, and whether it is there.
func (o *jsonObject) take(name string) (any, bool) {
	if o == nil {
		return nil, false
	}
	value, ok := o.values[name]
	delete(o.values, name)
	return value, ok
}

// done ends the reading of o: what was not taken is not known.
func (o *jsonObject) done() {
	if o == nil {
		return
	}
	for _, name := range o.order {
		if _, left := o.values[name]; left {
			o.refuse(name, "there is no field %q here; check its spelling, in lower case", Clip(name))
		}
	}
}

// taken takes a field of type T.
func taken[T any](o *jsonObject, name, kind string) (T, bool) {
	var typed T
	value, ok := o.take(name)
	if !ok {
		return typed, false
	}
	if typed, ok = value.(T); !ok {
		o.refuse(name, "is %s; %s is needed", kindOf(value), kind)
	}
	return typed, ok
}

// text takes a field of text; "" where it is left out.
func (o *jsonObject) text(name string) string {
	s, _ := taken[string](o, name, "text")
	return s
}

// need refuses the document where the field is left out.
func (o *jsonObject) need(names ...string) {
	for _, name := range names {
		if _, ok := o.values[name]; !ok {
			o.refuse(name, "is missing")
		}
	}
}

func (o *jsonObject) flag(name string) bool {
	b, _ := taken[bool](o, name, "true or false")
	return b
}

// integer takes a number without point or exponent, and says whether it is there.
func (o *jsonObject) integer(name string) (int64, bool) {
	number, ok := taken[json.Number](o, name, "a number")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil {
		o.refuse(name, "%s is not a whole number that fits in 64 bits", Clip(number.String()))
		return 0, false
	}
	return n, true
}

// small takes an integer of at most this absolute size.
func (o *jsonObject) small(name string, most int64) int {
	n, _ := o.integer(name)
	if n > most || n < -most {
		o.refuse(name, "%d is out of range; at most %d", n, most)
		return 0
	}
	return int(n)
}

// child takes a field that is an object; nil where it is left out.
func (o *jsonObject) child(name string) *jsonObject {
	child, _ := taken[*jsonObject](o, name, "an object")
	return child
}

// list takes a list of at most this many values.
func (o *jsonObject) list(name string, most int) []any {
	list, _ := taken[[]any](o, name, "a list")
	if len(list) > most {
		o.refuse(name, "the list has %d items; at most %d are read", len(list), most)
		return nil
	}
	return list
}

// children takes a list of objects.
func (o *jsonObject) children(name string, most int) []*jsonObject {
	var children []*jsonObject
	for i, value := range o.list(name, most) {
		child, ok := value.(*jsonObject)
		if !ok {
			o.document.refuse(fmt.Sprintf("%s[%d]", o.at(name), i), "is %s; an object is needed", kindOf(value))
			return nil
		}
		children = append(children, child)
	}
	return children
}

// integers takes a list of at most this many integers, each below this size.
func (o *jsonObject) integers(name string, most int, below int64) []int {
	var integers []int
	for i, value := range o.list(name, most) {
		number, _ := value.(json.Number)
		n, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil || n < 0 || n >= below {
			o.document.refuse(fmt.Sprintf("%s[%d]", o.at(name), i), "is not a whole number from 0 to %d", below-1)
			return nil
		}
		integers = append(integers, int(n))
	}
	return integers
}

// id takes an id in its usual form of 36 characters.
func (o *jsonObject) id(name string) uuid.UUID {
	s, ok := taken[string](o, name, "an id in text")
	if !ok {
		return uuid.Nil
	}
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		o.refuse(name, "%q is not an id; write it like %s", Clip(s), keyNamespace)
		return uuid.Nil
	}
	return id
}

// date takes a date; the zero Date where it is left out.
func (o *jsonObject) date(name string) Date {
	s, ok := taken[string](o, name, "a date in text")
	if !ok {
		return Date{}
	}
	date, err := ParseDate(s)
	if err != nil {
		o.adopt(name, err)
	}
	return date
}

// instantPattern keeps out what time.Parse puts up with: a decimal comma, hours of
// one digit.
var instantPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`)

// instant takes an instant in RFC 3339, to the microsecond at most; the zero time
// where it is left out.
func (o *jsonObject) instant(name string) time.Time {
	s, ok := taken[string](o, name, "an instant in text")
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil || !instantPattern.MatchString(s):
		o.refuse(name, "%q is not an instant; write it like 2026-01-31T23:00:00Z", Clip(s))
	case t.Nanosecond()%1000 != 0:
		o.refuse(name, "%s is finer than a microsecond; write at most 6 decimals", Clip(s))
	case t.IsZero():
		o.refuse(name, "the year 1 stands for no instant; leave the field out")
	default:
		return t.UTC()
	}
	return time.Time{}
}

// digest takes a SHA-256 hash in lower-case hexadecimal digits.
func (o *jsonObject) digest(name string) [32]byte {
	s := o.text(name)
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != s {
		o.refuse(name, "%q is not a hash: 64 digits of 0-9 a-f", Clip(s))
		return [32]byte{}
	}
	return [32]byte(raw)
}

// base64 takes bytes in base64 with padding.
func (o *jsonObject) base64(name string) []byte {
	s := o.text(name)
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != s {
		o.refuse(name, "%q is not base64", Clip(s))
		return nil
	}
	return raw
}
