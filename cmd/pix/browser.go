package main

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// openPage opens a page in the browser, or prints its address if there is no display. removeFile removes the file that has
// led the browser to the page.
func (a *app) openPage(address string, noOpen bool) (removeFile func(), err error) {
	program := a.findBrowser()
	if noOpen || program == "" {
		return func() {}, a.print(address + "\n")
	}
	file, err := newPageFile(a.getenv("XDG_RUNTIME_DIR"), address)
	if err != nil {
		return nil, err
	}
	// The program may become the browser itself. An interrupt from the terminal must not reach it, and it must not write to
	// a pipe that ends with this process.
	cmd := exec.Command(program, file.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		file.remove()
		return nil, err
	}
	go func() {
		if err := cmd.Wait(); err != nil {
			a.warn(fmt.Sprintf("'%s' did not open the page (%s); its address is %s", program, errorText(err), address))
		}
	}()
	return file.remove, nil
}

// A pageFile is a file that leads a browser to the address of a page. The address has a secret, and the arguments of a
// process are visible to every user of the machine, so the browser gets the name of a file that only this user can read.
type pageFile struct {
	name string
	dir  string // a directory for the file alone; "" for the user's runtime directory
}

// newPageFile creates the file in the user's runtime directory, or in a private directory below the one for temporary files.
// The runtime directory may be missing, or may be another user's, because su and sudo can keep the variable.
func newPageFile(runtimeDir, address string) (*pageFile, error) {
	if filepath.IsAbs(runtimeDir) {
		if f, err := writePageFile(runtimeDir, address); err == nil {
			return f, nil
		}
	}
	dir, err := os.MkdirTemp("", "pix-view-") // with mode 0700
	if err != nil {
		return nil, err
	}
	f, err := writePageFile(dir, address)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	f.dir = dir
	return f, nil
}

// writePageFile creates the file in a directory.
func writePageFile(dir, address string) (*pageFile, error) {
	f := new(pageFile)
	file, err := os.CreateTemp(dir, "pix-view-*.html") // with mode 0600
	if err == nil {
		f.name = file.Name()
		_, err = fmt.Fprintf(file, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"+
			"<title>pix view</title>\n<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n", html.EscapeString(address))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

// remove removes the file. Its token is of no use after the page was opened.
func (f *pageFile) remove() {
	if f.name != "" {
		os.Remove(f.name)
	}
	if f.dir != "" {
		os.Remove(f.dir)
	}
}

// browserCommand returns the program that opens a file in the user's browser, or "" if there is none or no display.
func browserCommand(goos string, getenv func(string) string, installed func(program string) bool) string {
	var programs []string
	switch {
	case goos == "darwin":
		programs = []string{"open"}
	case getenv("WSL_DISTRO_NAME") != "":
		programs = []string{"wslview", "xdg-open"}
	case getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != "":
		programs = []string{"xdg-open"}
	}
	for _, program := range programs {
		if installed(program) {
			return program
		}
	}
	return ""
}

// findBrowser is browserCommand for this machine.
func (a *app) findBrowser() string {
	return browserCommand(runtime.GOOS, a.getenv, func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
}
