package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
)

// mailServer is as much of RFC 5321 as a client can meet, with faults on order.
type mailServer struct {
	t        *testing.T
	listener net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	implicit bool              // encrypted from the first byte
	noTLS    bool              // does not offer STARTTLS
	answers  map[string]string // to a command, instead of the usual one; "": hangs up

	mu    sync.Mutex
	wg    sync.WaitGroup
	said  []string // commands
	mails []string
	clear bool // a mail, a password or a recipient went unencrypted
}

func newMailServer(t *testing.T, change func(*mailServer)) *mailServer {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	certified.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{t: t, listener: listener, tls: &tls.Config{Certificates: certified.TLS.Certificates}, roots: x509.NewCertPool(), answers: map[string]string{}}
	m.roots.AddCert(certified.Certificate())
	if change != nil {
		change(m)
	}
	m.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.wg.Go(func() { m.converse(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		m.wg.Wait()
	})
	return m
}

func (m *mailServer) converse(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	encrypted := m.implicit
	if m.implicit {
		conn = tls.Server(conn, m.tls)
	}
	lines := textproto.NewReader(bufio.NewReader(conn))
	say := func(text string) { _, _ = fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 mail.test")
	for {
		line, err := lines.ReadLine()
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(line, " ")
		m.mu.Lock()
		m.said = append(m.said, line)
		m.clear = m.clear || !encrypted && (verb == "AUTH" || verb == "MAIL" || verb == "RCPT")
		m.mu.Unlock()
		if answer, ok := m.answers[verb]; ok {
			if answer == "" {
				return
			}
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-mail.test")
			say("250-ENHANCEDSTATUSCODES")
			if !encrypted && !m.noTLS {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn, encrypted = tls.Server(conn, m.tls), true
			lines = textproto.NewReader(bufio.NewReader(conn))
		case "AUTH":
			say("235 welcome")
		case "DATA":
			say("354 go on")
			text, err := lines.ReadDotBytes()
			if err != nil {
				return
			}
			answer, ok := m.answers["."]
			if ok && answer == "" {
				return
			}
			m.mu.Lock()
			m.mails = append(m.mails, string(text))
			m.mu.Unlock()
			if !ok {
				answer = "250 queued"
			}
			say(answer)
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (m *mailServer) options() notify.SMTPOptions {
	o := notify.SMTPOptions{Host: "127.0.0.1", Port: m.listener.Addr().(*net.TCPAddr).Port, TLS: notify.StartTLS, Username: "bank", Password: "hunter2",
		From: "S-money <notices@bank.test>", SMSDomain: "sms.test", Clock: atNoon, RootCAs: m.roots}
	if m.implicit {
		o.TLS = notify.ImplicitTLS
	}
	return o
}

// end waits until the server has read all, and returns what it was told.
func (m *mailServer) end() (said, mails []string) {
	m.t.Helper()
	_ = m.listener.Close()
	m.wg.Wait()
	return m.said, m.mails
}

func newSMTP(t *testing.T, o notify.SMTPOptions) *notify.SMTP {
	t.Helper()
	s, err := notify.NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSMTPSendsEncrypted(t *testing.T) {
	for name, change := range map[string]func(*mailServer){"starttls": nil, "implicit": func(m *mailServer) { m.implicit = true }} {
		t.Run(name, func(t *testing.T) {
			server := newMailServer(t, change)
			// An accent and a line that is a lone dot must come through.
			n := payments.Notice{ID: notice.ID, Phone: notice.Phone, Text: notice.Text + "\n.\nà bientôt"}
			if err := newSMTP(t, server.options()).Notify(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			said, mails := server.end()
			if len(mails) != 1 || server.clear {
				t.Fatalf("%d mails, in clear: %v, said %q", len(mails), server.clear, said)
			}
			all := strings.Join(said, "\n")
			for _, want := range []string{"MAIL FROM:<notices@bank.test>", "RCPT TO:<33612345678@sms.test>",
				"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00bank\x00hunter2"))} {
				if !strings.Contains(all, want) {
					t.Errorf("%q was not said: %s", want, all)
				}
			}
			m, err := mail.ReadMessage(strings.NewReader(mails[0]))
			if err != nil {
				t.Fatal(err)
			}
			for key, want := range map[string]string{"From": `"S-money" <notices@bank.test>`, "To": "<33612345678@sms.test>", "Message-Id": "<n1@bank.test>",
				"Date": "Mon, 23 Nov 2026 12:00:00 +0000", "Auto-Submitted": "auto-generated", "Subject": "", "User-Agent": "", "X-Mailer": ""} {
				if got := m.Header.Get(key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if !strings.Contains(mails[0], "bient=C3=B4t") || !strings.Contains(strings.ReplaceAll(mails[0], "=\n", ""), token) {
				t.Errorf("the text is not whole:\n%s", mails[0])
			}
		})
	}
}

// TestSMTPJudgesAnswers tells what is tried again from what is not, and that no
// error repeats what a server wrote.
func TestSMTPJudgesAnswers(t *testing.T) {
	echo := " <33612345678@sms.test> " + token
	for _, c := range []struct {
		name   string
		change func(*mailServer)
		want   *payments.SendError
		says   string
	}{
		{"unknown recipient", func(m *mailServer) { m.answers["RCPT"] = "550 5.1.1" + echo }, &payments.SendError{Permanent: true},
			"the mail was not taken: sending SMTP RCPT TO command: the server answered 550 5.1.1"},
		{"greylisted", func(m *mailServer) { m.answers["RCPT"] = "451 4.7.1" + echo }, &payments.SendError{},
			"the mail was not taken: sending SMTP RCPT TO command: the server answered 451 4.7.1"},
		{"sender refused", func(m *mailServer) { m.answers["MAIL"] = "553" + echo }, &payments.SendError{Permanent: true},
			"the mail was not taken: sending SMTP MAIL FROM command: the server answered 553"},
		{"full after the text", func(m *mailServer) { m.answers["."] = "452 4.3.1" + echo }, &payments.SendError{},
			"the mail was not taken: closing SMTP DATA writer: the server answered 452 4.3.1"},
		{"gone after the text", func(m *mailServer) { m.answers["."] = "" }, &payments.SendError{InDoubt: true}, ""},
		{"gone at the sender", func(m *mailServer) { m.answers["MAIL"] = "" }, &payments.SendError{}, ""},
		{"wrong password", func(m *mailServer) { m.answers["AUTH"] = "535 5.7.8 hunter2 is wrong" }, &payments.SendError{},
			"the mail server takes no notices: it answered 535"},
		{"busy", func(m *mailServer) { m.answers["EHLO"], m.answers["HELO"] = "421 later", "421 later" }, &payments.SendError{}, ""},
		{"no encryption", func(m *mailServer) { m.noTLS = true }, &payments.SendError{}, ""},
		{"gone after the goodbye", func(m *mailServer) { m.answers["QUIT"] = "" }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newMailServer(t, c.change)
			wantSent(t, newSMTP(t, server.options()).Notify(t.Context(), notice), c.want, c.says)
			if said, _ := server.end(); server.clear {
				t.Errorf("said in clear: %q", said)
			}
		})
	}
}

func TestSMTPTrustsNobodyElse(t *testing.T) {
	server := newMailServer(t, nil)
	o := server.options()
	o.RootCAs = x509.NewCertPool()
	wantSent(t, newSMTP(t, o).Notify(t.Context(), notice), &payments.SendError{}, "")
	if said, mails := server.end(); server.clear || len(mails) > 0 {
		t.Errorf("a server without a certificate was told %q", said)
	}
}

func TestSMTPEndsWithItsAttempt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := newMailServer(t, func(m *mailServer) {
		m.tls = &tls.Config{Certificates: m.tls.Certificates,
			VerifyConnection: func(tls.ConnectionState) error { cancel(); <-ctx.Done(); return nil }}
	})
	err := newSMTP(t, server.options()).Notify(ctx, notice)
	if err == nil {
		t.Fatal("a notice was delivered after the attempt's end")
	}
	wantNoSecret(t, err.Error())
	server.end() // does not wait for ever: the connection was closed
}

func TestSMTPRefusesWhatMakesNoMail(t *testing.T) {
	server := newMailServer(t, nil)
	sink := newSMTP(t, server.options())
	for _, n := range []payments.Notice{
		{ID: "n1", Phone: "+33612345678\r\nBcc: all@bank.test", Text: "a"},
		{ID: "n1", Phone: "+336123>,<45678", Text: "a"},
		{ID: "n1\r\nBcc: all@bank.test", Phone: "+33612345678", Text: "a"},
		{ID: "n1", Phone: "", Text: "a"},
	} {
		wantSent(t, sink.Notify(t.Context(), n), &payments.SendError{Permanent: true}, "")
	}
	if said, mails := server.end(); len(said)+len(mails) > 0 {
		t.Errorf("the server was told %q", said)
	}
}

func TestSMTPSettings(t *testing.T) {
	good := notify.SMTPOptions{Host: "mail.test", Port: 587, TLS: notify.StartTLS, From: "notices@bank.test", SMSDomain: "sms.test", Clock: func() time.Time { return noon }}
	newSMTP(t, good)
	for field, change := range map[string]func(*notify.SMTPOptions){
		"smtp_host":       func(o *notify.SMTPOptions) { o.Host = "mail test" },
		"smtp_port":       func(o *notify.SMTPOptions) { o.Port = 0 },
		"smtp_tls":        func(o *notify.SMTPOptions) { o.TLS = notify.NoTLS },
		"smtp_username":   func(o *notify.SMTPOptions) { o.Password = "hunter2" },
		"smtp_from":       func(o *notify.SMTPOptions) { o.From = "notices@bank.test\r\nBcc: all@bank.test" },
		"smtp_sms_domain": func(o *notify.SMTPOptions) { o.SMSDomain = "sms.test>\r\n" },
		"clock":           func(o *notify.SMTPOptions) { o.Clock = nil },
	} {
		o := good
		change(&o)
		_, err := notify.NewSMTP(o)
		wantField(t, err, field)
	}
	for _, change := range []func(*notify.SMTPOptions){
		func(o *notify.SMTPOptions) { o.TLS = "plain" },
		func(o *notify.SMTPOptions) { o.TLS = "" },
	} {
		o := good
		change(&o)
		_, err := notify.NewSMTP(o)
		wantField(t, err, "smtp_tls")
	}
	local := good
	local.Host, local.TLS, local.Port = "localhost", notify.NoTLS, 25
	newSMTP(t, local)
}
