package notify_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
)

const token = "mVfWq3nJ5V2cQ0y9l4Zp8s7t6u5v4w3x2y1z0A_B-CD"

var notice = payments.Notice{ID: "n1", Phone: "+33612345678", Text: "S-money : validez : https://pay.test/confirm/" + token}

func TestLogTellsNoSecret(t *testing.T) {
	var out bytes.Buffer
	if err := notify.NewLog(slog.New(slog.NewTextHandler(&out, nil))).Notify(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, secret := range []string{token, token[:8], "12345", "612345678"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log shows %q: %s", secret, text)
		}
	}
	for _, shown := range []string{"n1", "+336", "78", "https://pay.test/confirm/mVfW…"} {
		if !strings.Contains(text, shown) {
			t.Errorf("the log lacks %q: %s", shown, text)
		}
	}
}

func TestMasks(t *testing.T) {
	for in, want := range map[string]string{"+33612345678": "+336••••••78", "12345": "•••••", "": ""} {
		if got := notify.MaskPhone(in); got != want {
			t.Errorf("MaskPhone(%q) = %q, want %q", in, got, want)
		}
	}
	two := "a http://x.test/" + token + " b https://y.test/p/q/" + token + "!"
	if got, want := notify.MaskLinks(two), "a http://x.test/mVfW… b https://y.test/p/q/mVfW…!"; got != want {
		t.Errorf("MaskLinks = %q, want %q", got, want)
	}
	if got, want := notify.MaskCodes("votre code est 123456, valable 10 minutes le 20261123"), "votre code est ••••••, valable 10 minutes le 20261123"; got != want {
		t.Errorf("MaskCodes = %q, want %q", got, want)
	}
	if got := notify.MaskLinks("https://x.test/about"); got != "https://x.test/about" {
		t.Errorf("a link without a secret became %q", got)
	}
}

func TestRecorderKeepsEachNoticeOnce(t *testing.T) {
	var out bytes.Buffer
	r := notify.NewRecorder(&out)
	for range 2 {
		if err := r.Notify(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Notices(); len(got) != 1 || got[0] != notice {
		t.Fatalf("recorded %+v", got)
	}
	want := `{"id":"n1","phone":"+33612345678","text":"` + notice.Text + `"}` + "\n"
	if out.String() != want {
		t.Fatalf("wrote %q, want %q", out.String(), want)
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestRecorderReportsWhatItCannotWrite(t *testing.T) {
	r := notify.NewRecorder(full{})
	if err := r.Notify(t.Context(), notice); !errors.Is(err, errFull) {
		t.Fatalf("error is %v", err)
	}
	if len(r.Notices()) != 0 {
		t.Fatal("a notice that failed counts as recorded")
	}
}
