// What iOS and Linux both have as a part of the system.
#pragma once
#include <sqlite3.h>
#include <zlib.h>
