package testenv

import (
	"go/build"
	"os"
	"path/filepath"
	"strings"
)

// ForgetMachine removes the variables that name stores, settings and directories of the user from the environment,
// so that no test depends on them or writes there. The variables of tests, and those that the go command needs,
// remain. TestMain calls it before it runs tests.
func ForgetMachine() error {
	if err := keepGo(); err != nil {
		return err
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !isOfMachine(name) {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	return nil
}

// keepGo sets the variables that the go command otherwise derives from HOME.
func keepGo() error {
	values := map[string]string{"GOPATH": build.Default.GOPATH}
	if cache, err := os.UserCacheDir(); err == nil {
		values["GOCACHE"] = filepath.Join(cache, "go-build")
	}
	if config, err := os.UserConfigDir(); err == nil {
		values["GOENV"] = filepath.Join(config, "go", "env")
	}
	for name, value := range values {
		if os.Getenv(name) != "" || value == "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// isOfMachine reports whether a variable describes the machine or the user.
func isOfMachine(name string) bool {
	switch name {
	case "PIX_STORE", "PIX_PROGRESS", "PIX_CLOSURE_LIMIT", "HOME", "NO_COLOR", "SSL_CERT_FILE", "IN_NIX_SHELL":
		return true
	}
	upper := strings.ToUpper(name)
	return strings.HasPrefix(name, "NIX_") || strings.HasPrefix(name, "XDG_") || strings.HasSuffix(upper, "_PROXY")
}
