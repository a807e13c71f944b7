package daemon

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pix/internal/redact"
)

// SSH is the [Transport] to a daemon on another machine. It runs OpenSSH, as Nix does, so
// that people's configuration, agents and jump hosts work, and there "nix-daemon --stdio".
type SSH struct {
	User string // "" leaves it to ssh
	Host string
	Port int // 0 leaves it to ssh

	Options       []string // arguments for ssh, before all others
	Key           string   // the file of a private key; "" leaves it to ssh
	HostKey       string   // the host's public key, in base 64 of its line in known_hosts after the name; "" leaves it to ssh
	Compress      bool
	RemoteProgram []string // nil is nix-daemon; without "--stdio"
	RemoteStore   string   // the URI of the store that the remote program opens; "" leaves it to it
}

// String returns the URI without parameters.
func (s *SSH) String() string {
	text := s.target()
	if strings.Contains(s.Host, ":") {
		text = strings.Replace(text, s.Host, "["+s.Host+"]", 1)
	}
	if s.Port != 0 {
		text += ":" + strconv.Itoa(s.Port)
	}
	return "ssh-ng://" + text
}

// target returns "user@host", as ssh wants it.
func (s *SSH) target() string {
	if s.User != "" {
		return s.User + "@" + s.Host
	}
	return s.Host
}

// started is what ssh is told to print when the connection stands. It distinguishes an ssh
// that cannot connect from a daemon that is silent, and takes the place of what people may
// have configured to be printed.
const started = "started\n"

// Dial implements [Transport].
func (s *SSH) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	args, cleanUp, err := s.args()
	if err != nil {
		return nil, err
	}
	return Command{Args: args, Env: []string{"SHELL=/bin/sh"}}.start(started, cleanUp)
}

// handshakeTimeout is how long connecting may take unless the options say it: ssh may ask
// for a password, or for a touch of a key.
func (s *SSH) handshakeTimeout() time.Duration { return 2 * time.Minute }

// check refuses what ssh would take for an option.
func (s *SSH) check() error {
	switch {
	case s.Host == "":
		return errors.New("the host name is empty")
	case strings.HasPrefix(s.Host, "-"):
		return fmt.Errorf("the host name %q begins with '-'", s.Host)
	case strings.HasPrefix(s.User, "-"):
		return fmt.Errorf("the user name %q begins with '-'", s.User)
	}
	return nil
}

// args returns the command line. cleanUp removes the files that it names.
func (s *SSH) args() (args []string, cleanUp func(), err error) {
	args = append([]string{"ssh", s.target(), "-x"}, s.Options...)
	if s.Key != "" {
		args = append(args, "-i", s.Key)
	}
	cleanUp = func() {}
	if s.HostKey != "" {
		var option string
		if option, cleanUp, err = s.knownHosts(); err != nil {
			return nil, nil, err
		}
		args = append(args, option)
	}
	if s.Compress {
		args = append(args, "-C")
	}
	if s.Port != 0 {
		args = append(args, "-p"+strconv.Itoa(s.Port))
	}
	args = append(args, "-oPermitLocalCommand=yes", "-oLocalCommand=echo started", "--")
	if len(s.RemoteProgram) == 0 {
		args = append(args, "nix-daemon")
	}
	args = append(append(args, s.RemoteProgram...), "--stdio")
	if s.RemoteStore != "" {
		args = append(args, "--store", s.RemoteStore)
	}
	return args, cleanUp, nil
}

// knownHosts makes a file with the host's key and returns the option that names it.
func (s *SSH) knownHosts() (option string, cleanUp func(), err error) {
	key, err := base64.StdEncoding.DecodeString(s.HostKey)
	if err != nil {
		return "", nil, fmt.Errorf("the host key: %w", err)
	}
	dir, err := os.MkdirTemp("", "pix-ssh")
	if err != nil {
		return "", nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	file := filepath.Join(dir, "host-key")
	if err := os.WriteFile(file, []byte(s.Host+" "+string(key)+"\n"), 0o600); err != nil {
		cleanUp()
		return "", nil, err
	}
	return "-oUserKnownHostsFile=" + file, cleanUp, nil
}

// ParseSSH parses a URI "ssh-ng://[user@]host[:port][?parameter=value&…]". The parameters
// are those of Nix: ssh-key, base64-ssh-public-host-key, compress, remote-program and
// remote-store. An unknown one is an error, as is a path.
func ParseSSH(uri string) (*SSH, error) {
	rest, ok := strings.CutPrefix(uri, "ssh-ng://")
	if !ok {
		return nil, errors.New("it does not begin with ssh-ng://")
	}
	authority, query, _ := strings.Cut(rest, "?")
	s := new(SSH)
	if err := s.parseAuthority(authority); err != nil {
		return nil, err
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	for name, values := range params {
		if len(values) > 1 {
			return nil, fmt.Errorf("the parameter %s is there more than once", name)
		}
		if err := s.set(name, values[0]); err != nil {
			return nil, err
		}
	}
	return s, s.check()
}

func (s *SSH) parseAuthority(authority string) error {
	if strings.Count(authority, ":") > 1 && !strings.Contains(authority, "[") {
		at := strings.LastIndex(authority, "@") + 1 // an IPv6 address without brackets, as Nix takes it
		authority = authority[:at] + "[" + authority[at:] + "]"
	}
	u, err := url.Parse("ssh-ng://" + authority)
	if err != nil {
		return redact.Error(err)
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return errors.New("what follows the host is no port and no parameter")
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return errors.New("there is a password; ssh will ask for it")
		}
		if s.User = u.User.Username(); s.User == "" {
			return errors.New("the user name is empty")
		}
	}
	s.Host = u.Hostname()
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("the port %q is none", port)
		}
		s.Port = int(n)
	}
	return nil
}

func (s *SSH) set(name, value string) (err error) {
	switch name {
	case "ssh-key":
		s.Key = value
	case "base64-ssh-public-host-key":
		s.HostKey = value
	case "compress":
		s.Compress, err = strconv.ParseBool(value)
	case "remote-program":
		s.RemoteProgram = strings.Fields(value)
	case "remote-store":
		s.RemoteStore = value
	default:
		return fmt.Errorf("the parameter %s is unknown", name)
	}
	if err != nil {
		return fmt.Errorf("the parameter %s: %w", name, err)
	}
	return nil
}
