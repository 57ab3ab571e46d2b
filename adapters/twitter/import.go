package twitter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// The ways in which a message can have come: Message.Via.
const (
	ViaStream   = "stream"
	ViaMentions = "mentions"
	ViaSearch   = "search"
	ViaWebhook  = "webhook"
	ViaDirect   = "direct" // read from the bank's direct messages
	ViaLookup   = "lookup"
	ViaArchive  = "archive"
	ViaImport   = "import"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// ImportError is one line about a file that is imported: about one of its items,
// in which case the others are read all the same, or about the file from some
// place on. It wraps the *ledger.Error that says what is wrong.
type ImportError struct {
	File   string
	Item   int    // counted from 1 (in JSON lines: the line); 0 where it is about the file
	Offset int64  // in bytes from the start of the file; -1 where none is known
	ID     string // of the tweet; may be empty
	Err    error
}

// Error implements error: file, place, what is wrong.
func (e *ImportError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Item > 0 {
		fmt.Fprintf(&b, ": item %d", e.Item)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at byte %d", e.Offset)
	}
	text := e.Err.Error()
	if e.ID != "" && !strings.Contains(text, e.ID) {
		fmt.Fprintf(&b, " (tweet %s)", e.ID)
	}
	return b.String() + ": " + text
}

// Unwrap returns the cause.
func (e *ImportError) Unwrap() error { return e.Err }

// Import reads tweets from files: archive downloads, pages of the X API v2, JSON
// lines. It keeps one item (or one page, of at most maxValueBytes) in memory.
type Import struct {
	files []importFile
	stdin io.Reader
	total int64
	read  atomic.Int64
}

// OpenImport finds what is to be read. A path is a file, a directory (an
// unpacked archive, its data folder, or a folder of JSON files) or "-" for stdin.
// The archive format needs its owner: account.js beside the file names it, owner
// does where there is none, and the two must not contradict each other.
// Errors name the path; nothing is read before Messages.
func OpenImport(paths []string, owner Owner, stdin io.Reader) (*Import, error) {
	if len(paths) == 0 {
		return nil, ledger.Errorf(ledger.CodeInvalid, "no file was given; name the archive's folder, a JSON file, or - for standard input")
	}
	if owner.ID != "" && !validID(owner.ID) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id", clip(owner.ID)).InField("owner")
	}
	owner.Handle = strings.TrimPrefix(owner.Handle, "@")
	im := &Import{stdin: stdin}
	for _, path := range paths {
		if path == Stdin {
			im.files = append(im.files, importFile{path: Stdin, owner: owner})
			continue
		}
		files, err := findFiles(path, owner)
		if err != nil {
			return nil, err
		}
		im.files = append(im.files, files...)
		if len(im.files) > maxImportFiles {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%s: more than %d files; import them in parts", path, maxImportFiles)
		}
	}
	for _, f := range im.files {
		im.total += f.size
	}
	return im, nil
}

// TotalBytes is the size of all files together; standard input counts as 0.
func (im *Import) TotalBytes() int64 { return im.total }

// BytesRead is how much of them has been read so far. It may be called while
// Messages runs.
func (im *Import) BytesRead() int64 { return im.read.Load() }

// Messages reads all files in order. An error is an *ImportError; reading goes
// on after it with the next item, or with the next file where it was about the
// file. The message beside an error is not to be used.
func (im *Import) Messages() iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		for _, f := range im.files {
			if !im.readFile(f, yield) {
				return
			}
		}
	}
}

// readFile reads one file; false says that the caller wants no more.
func (im *Import) readFile(f importFile, yield func(payments.Message, error) bool) bool {
	source := im.stdin
	if f.path != Stdin {
		file, err := os.Open(f.path)
		if err != nil {
			return yield(payments.Message{}, &ImportError{File: f.path, Offset: -1, Err: openError(err)})
		}
		defer file.Close()
		source = file
	}
	r := &importReader{name: f.name(), file: f, yield: yield, goOn: true}
	r.bounded = &boundedReader{r: source, read: &im.read, left: maxValueBytes}
	r.in = bufio.NewReaderSize(r.bounded, importBuffer)
	if err := r.run(); err != nil && r.goOn {
		return yield(payments.Message{}, err)
	}
	return r.goOn
}

func openError(err error) error {
	code := ledger.CodeInvalid
	if errors.Is(err, os.ErrNotExist) {
		code = ledger.CodeNotFound
	}
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return ledger.Errorf(code, "cannot be opened: %w", err)
}

const (
	// importBuffer is how much is read at a time.
	importBuffer = 64 << 10
	// maxValueBytes bounds one tweet, line or page in memory. X's largest pages, a
	// hundred posts of 25,000 characters with all fields, stay below it.
	maxValueBytes = 16 << 20
	// maxImportFiles bounds one import; a folder of more pages can be given in parts.
	maxImportFiles = 10_000
)

// errValueTooLarge is what reading ends with where one value has no end.
var errValueTooLarge = errors.New("a single item is larger than 16 MiB")

// boundedReader counts what is read and stops where one value takes more than it
// may: whoever starts a value resets left.
type boundedReader struct {
	r    io.Reader
	read *atomic.Int64
	left int64
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errValueTooLarge
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	b.read.Add(int64(n))
	return n, err
}
