package twitter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// importReader reads one file and yields what is in it.
type importReader struct {
	name    string
	file    importFile
	bounded *boundedReader
	in      *bufio.Reader
	notes   *noteTexts
	skipped int64 // bytes before what a json.Decoder sees
	item    int
	yield   func(payments.Message, error) bool
	goOn    bool
}

// run sniffs the format and reads the file; its error is about the whole file,
// which was read up to there.
func (r *importReader) run() error {
	first, err := r.firstByte()
	if errors.Is(err, io.EOF) {
		return r.fileError(-1, "is empty; give an archive's tweets.js, pages of the X API, or JSON lines")
	}
	if err != nil {
		return r.readError(-1, err)
	}
	switch first {
	case 'w', 'Y':
		return r.archive()
	case '[':
		return r.values(r.in)
	case '{':
		return r.linesOrPages()
	case 'P', 0x1f:
		return r.fileError(-1, "looks like a ZIP or gzip file; unpack it first")
	}
	return r.fileError(r.skipped, "is neither an archive's tweets.js nor JSON of the X API: it starts with %q", string(rune(first)))
}

func (r *importReader) fileError(offset int64, format string, args ...any) error {
	return &ImportError{File: r.name, Offset: offset, Err: ledger.Errorf(ledger.CodeInvalid, format, args...)}
}

// firstByte skips a byte-order mark and white space, and peeks at what follows.
func (r *importReader) firstByte() (byte, error) {
	if mark, _ := r.in.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = r.in.Discard(len(mark)) // it was just peeked at
		r.skipped += int64(len(mark))
	}
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, r.in.UnreadByte()
		}
		r.skipped++
	}
}

// archiveStart matches what an archive's files begin with.
var archiveStart = regexp.MustCompile(`^(?:window\.)?YTD\.([a-z0-9_]+)\.part[0-9]+\s*=$`)

// archive reads "window.YTD.tweets.part0 = [ … ]".
func (r *importReader) archive() error {
	table, err := r.archiveTable()
	if err != nil {
		return err
	}
	if table != "tweets" && table != "tweet" {
		return r.fileError(-1, "holds the archive's %q, not tweets; give tweets.js", table)
	}
	if r.file.owner.ID == "" {
		return r.fileError(-1, "tweets of an archive do not name their author; put its account.js beside it or give the owner's numeric id")
	}
	if err := r.loadNotes(); err != nil {
		return err
	}
	return r.array(r.in, func(raw []byte, offset int64) { r.archiveItem(raw, offset) })
}

func (r *importReader) archiveTable() (string, error) {
	const longestStart = 256
	var start []byte
	for len(start) < longestStart {
		b, err := r.in.ReadByte()
		if err != nil {
			break
		}
		start = append(start, b)
		if b == '=' {
			break
		}
	}
	match := archiveStart.FindSubmatch(start)
	if match == nil {
		return "", r.fileError(r.skipped, `does not start like an archive's file ("window.YTD.tweets.part0 = ["), but with %q`, clip(string(start)))
	}
	r.skipped += int64(len(start))
	return string(match[1]), nil
}

// loadNotes reads note-tweet.js, which has the texts of which tweets.js has the
// beginning.
func (r *importReader) loadNotes() error {
	if r.file.notes == "" {
		return nil
	}
	file, err := os.Open(r.file.notes)
	if err != nil {
		return inFile(r.file.notes, openError(err))
	}
	defer file.Close()
	r.notes = &noteTexts{}
	var failed error
	sub := &importReader{name: r.file.notes, goOn: true, bounded: &boundedReader{r: file, read: r.bounded.read, left: maxValueBytes}}
	before := r.bounded.read.Load()
	sub.in = bufio.NewReaderSize(sub.bounded, importBuffer)
	if _, err := sub.firstByte(); err != nil {
		return sub.fileError(-1, "is empty; take it away to import without the long texts")
	}
	if table, err := sub.archiveTable(); err != nil || table != "note_tweet" {
		return sub.fileError(-1, "does not hold an archive's long texts; take it away to import without them")
	}
	err = sub.array(sub.in, func(raw []byte, offset int64) {
		if err := r.notes.add(raw); err != nil && failed == nil {
			failed = &ImportError{File: sub.name, Item: sub.item, Offset: offset, Err: err}
		}
	})
	r.bounded.read.Store(before) // progress counts the files of tweets
	if err == nil {
		err = failed
	}
	return err
}

func (r *importReader) archiveItem(raw []byte, offset int64) {
	m, err := decodeArchiveTweet(raw, r.file.owner, r.notes)
	r.deliver(m, err, offset)
}

// deliver yields one message, or what is wrong with it.
func (r *importReader) deliver(m payments.Message, err error, offset int64) {
	if !r.goOn {
		return
	}
	if err != nil {
		err = &ImportError{File: r.name, Item: r.item, Offset: offset, ID: m.ID, Err: err}
	}
	r.goOn = r.yield(m, err)
}

// array reads "[ … ]" element by element.
func (r *importReader) array(in io.Reader, element func(raw []byte, offset int64)) error {
	dec := json.NewDecoder(in)
	r.bounded.left = maxValueBytes
	start, err := dec.Token()
	if err != nil {
		return r.readError(r.skipped+dec.InputOffset(), err)
	}
	if start != json.Delim('[') {
		return r.fileError(r.skipped+dec.InputOffset(), "has no list of tweets where one must start")
	}
	for r.goOn && dec.More() {
		r.bounded.left = maxValueBytes
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return r.readError(r.skipped+dec.InputOffset(), err)
		}
		r.item++
		element(raw, r.skipped+dec.InputOffset()-int64(len(raw)))
	}
	if !r.goOn {
		return nil
	}
	if _, err := dec.Token(); err != nil {
		return r.readError(r.skipped+dec.InputOffset(), err)
	}
	return nil
}

// readError says why a file could not be read on from offset.
func (r *importReader) readError(offset int64, err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return r.fileError(offset, "ends in the middle: it was cut off after item %d; get it again (what was read stays read)", r.item)
	case errors.Is(err, errValueTooLarge) || errors.Is(err, errLineTooLong):
		return r.fileError(offset, "item %d is larger than %d MiB: this is no list of tweets, or it is damaged", r.item+1, maxValueBytes>>20)
	case errors.As(err, &syntax):
		return r.fileError(offset, "is damaged after item %d: %w; get it again (what was read stays read)", r.item, syntax)
	}
	return r.fileError(offset, "cannot be read: %w", err)
}

// linesOrPages reads objects: one a line, or spread over lines. The first line
// tells which: an object that is whole on one line makes JSON lines, where a
// damaged line does not spoil the rest.
func (r *importReader) linesOrPages() error {
	offset := r.skipped
	line, err := readLine(r.in, maxValueBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return r.readError(offset, err)
	}
	if !json.Valid(line) {
		return r.values(io.MultiReader(bytes.NewReader(line), r.in))
	}
	for {
		r.item++
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 {
			r.line(trimmed, offset, err)
		}
		if !r.goOn || errors.Is(err, io.EOF) {
			return nil
		}
		offset += int64(len(line))
		r.bounded.left = maxValueBytes
		if line, err = readLine(r.in, maxValueBytes); err != nil && !errors.Is(err, io.EOF) {
			return r.readError(offset, err)
		}
	}
}

// line reads one of JSON lines; end is io.EOF where the file ends with it.
func (r *importReader) line(line []byte, offset int64, end error) {
	if json.Valid(line) {
		r.value(line, offset)
		return
	}
	what := "this line is not JSON; it was left out"
	if errors.Is(end, io.EOF) {
		what = "the last line is cut off; get the file again"
	}
	r.deliver(payments.Message{ID: lenientID(line)}, ledger.Errorf(ledger.CodeInvalid, "%s", what), offset)
}

// values reads a list of objects, or objects one after the other.
func (r *importReader) values(in io.Reader) error {
	buffered := bufio.NewReader(in)
	if first, err := buffered.Peek(1); err == nil && first[0] == '[' {
		return r.array(buffered, r.value)
	}
	dec := json.NewDecoder(buffered)
	for r.goOn {
		r.bounded.left = maxValueBytes
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.readError(r.skipped+dec.InputOffset(), err)
		}
		r.item++
		r.value(raw, r.skipped+dec.InputOffset()-int64(len(raw)))
	}
	return nil
}

// page is any object that an export can hold: a page or event of the API v2, an
// element of an archive, a post alone.
type page struct {
	Data     json.RawMessage `json:"data"`
	Includes includes        `json:"includes"`
	Meta     json.RawMessage `json:"meta"`
	Errors   json.RawMessage `json:"errors"`
	Tweet    json.RawMessage `json:"tweet"`
}

func (r *importReader) value(raw []byte, offset int64) {
	var p page
	if err := json.Unmarshal(raw, &p); err != nil {
		r.deliver(payments.Message{ID: lenientID(raw)}, jsonError("the item", err), offset)
		return
	}
	switch {
	case !isNull(p.Data):
		r.page(p, offset)
	case !isNull(p.Tweet):
		if r.file.owner.ID == "" {
			r.deliver(payments.Message{ID: lenientID(raw)}, ledger.Errorf(ledger.CodeInvalid, "a tweet of an archive does not name its author; give the owner's numeric id"), offset)
			return
		}
		r.archiveItem(raw, offset)
	case !isNull(p.Meta) || !isNull(p.Errors):
		// A page without posts: the end of a search.
	default:
		m, err := decodeTweet(raw, directory{}, ViaImport)
		r.deliver(m, err, offset)
	}
}

// page yields the posts of "data", which is one or a list.
func (r *importReader) page(p page, offset int64) {
	users := p.Includes.directory()
	posts := []json.RawMessage{p.Data}
	if p.Data[0] == '[' {
		if err := json.Unmarshal(p.Data, &posts); err != nil {
			r.deliver(payments.Message{}, jsonError("the page's data", err), offset)
			return
		}
	}
	for _, raw := range posts {
		m, err := decodeTweet(raw, users, ViaImport)
		if m.ID == "" && err != nil {
			m.ID = lenientID(raw)
		}
		r.deliver(m, err, offset)
	}
}

// errLineTooLong is returned by readLine for a line beyond its bound.
var errLineTooLong = errors.New("line too long")

// readLine returns the next line with its end, of at most most bytes. io.EOF
// comes with the last line where that has no end.
func readLine(in *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		piece, err := in.ReadSlice('\n')
		if len(line)+len(piece) > most {
			return nil, errLineTooLong
		}
		line = append(line, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
