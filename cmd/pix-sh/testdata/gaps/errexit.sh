f() { (false; echo no); }; set -e; if f; then echo yes; fi
