set -C; : > x; : > x; echo $?
