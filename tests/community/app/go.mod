module community-app

go 1.21
