make openhands
